//! The kinds of problem: a stable word, a status and a page for each.
//!
//! Clients branch on the word, so none is ever renamed; a kind that no route gives yet is still listed, as
//! the pages under `/problems/` are the whole vocabulary.

use axum::http::StatusCode;

macro_rules! slugs {
    ($($name:ident = $status:ident $slug:literal, $title:literal, $about:literal;)*) => {
        /// A kind of problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Slug {
            $(#[doc = $about] $name,)*
        }

        impl Slug {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The last segment of `type`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }

            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The kind in a few words; the same in every answer.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// When it is answered and what to do, for the page about it.
            pub fn about(self) -> &'static str {
                match self { $(Self::$name => $about,)* }
            }
        }
    };
}

slugs! {
    MalformedRequest = BAD_REQUEST "malformed-request", "The request cannot be read",
        "JSON, a header or a query that cannot be read, nests deeper than 64 levels or names a key twice. `errors` says where.";
    UnknownParameter = BAD_REQUEST "unknown-parameter", "The route has no such query parameter",
        "A query parameter is not one of the route's: `parameter` names it, `known` lists those there are. Nothing is ever ignored.";
    InvalidCursor = BAD_REQUEST "invalid-cursor", "The cursor is not one of this list",
        "A cursor is good for the route, tenant, filters and sort that it was given for, and cannot be made by hand. Begin again without one.";
    TenantRequired = BAD_REQUEST "tenant-required", "The tenant is not known",
        "The host name tells no tenant and the parameter `tenant` is absent.";
    Unauthenticated = UNAUTHORIZED "unauthenticated", "Credentials are missing",
        "Send `Authorization: Bearer <token or key>` or `X-API-Key: <key>`.";
    InvalidCredentials = UNAUTHORIZED "invalid-credentials", "The credentials are wrong",
        "A wrong name, password, code or key; which of them is not told.";
    TokenExpired = UNAUTHORIZED "token-expired", "The token is past its time",
        "Refresh it, or sign in again.";
    Forbidden = FORBIDDEN "forbidden", "The permission is missing",
        "`required_permission` names what the credentials do not hold.";
    StepUpRequired = FORBIDDEN "step-up-required", "A second factor is required",
        "The action wants one of `methods` within the last five minutes.";
    TenantSuspended = FORBIDDEN "tenant-suspended", "The tenant is suspended",
        "Nothing is taken or answered until it is active again.";
    QuotaExceeded = FORBIDDEN "quota-exceeded", "The tenant's quota is used up",
        "`quota` names it; `limit` and `used` say how much.";
    ChallengeRequired = FORBIDDEN "challenge-required", "A challenge must be solved first",
        "Reports without an account prove that a person sends them.";
    NotFound = NOT_FOUND "not-found", "There is no such thing",
        "No such route, or no such thing in your tenant.";
    MethodNotAllowed = METHOD_NOT_ALLOWED "method-not-allowed", "The path does not take this method",
        "`allowed` lists those that it takes.";
    NotAcceptable = NOT_ACCEPTABLE "not-acceptable", "No form that the client accepts",
        "`Accept` leaves none of the forms that the route can answer in.";
    RequestTimeout = REQUEST_TIMEOUT "request-timeout", "The request took too long",
        "It may have had its effect: with an Idempotency-Key, or If-Match, sending it again is safe.";
    Conflict = CONFLICT "conflict", "A unique value is taken",
        "`field` names it; `existing_id` who has it, where that may be seen.";
    InUse = CONFLICT "in-use", "Others hang on it",
        "`by` counts what would lose its hold.";
    IdempotencyInProgress = CONFLICT "idempotency-in-progress", "The first request still runs",
        "A request with this Idempotency-Key has not been answered yet. Try again after `Retry-After`.";
    OpenWorkOrderExists = CONFLICT "open-work-order-exists", "A work order is open already",
        "There is one at most for each rule and sensor: `work_order_id`.";
    Overspend = CONFLICT "overspend", "The budget does not bear it",
        "`remaining` is less than `asked`, and the budget's policy is to block.";
    InsufficientStock = CONFLICT "insufficient-stock", "Not enough in stock",
        "`available` is what there is of `part_id`.";
    Gone = GONE "gone", "It is no longer kept",
        "Older than what is kept: `earliest` is the first that is.";
    PreconditionFailed = PRECONDITION_FAILED "precondition-failed", "It was changed meanwhile",
        "`If-Match` names another version than `current_version`; `current` is how it stands. Read, decide again, send again.";
    PayloadTooLarge = PAYLOAD_TOO_LARGE "payload-too-large", "The body is too large",
        "More than `limit_bytes`, before or after inflating.";
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "unsupported-media-type", "The route does not read this content type",
        "`accepted` lists those that it reads.";
    RangeNotSatisfiable = RANGE_NOT_SATISFIABLE "range-not-satisfiable", "The range lies outside the file",
        "`Content-Range` says how long the file is.";
    ValidationFailed = UNPROCESSABLE_ENTITY "validation-failed", "A field breaks its rule",
        "`errors` lists every field that does, by JSON pointer.";
    GeometryInvalid = UNPROCESSABLE_ENTITY "geometry-invalid", "The geometry is not valid",
        "`reason` says in what way, `pointer` where. Coordinates are WGS84, longitude first.";
    InvalidStateTransition = UNPROCESSABLE_ENTITY "invalid-state-transition", "The state cannot be reached from here",
        "From `current`, `allowed` can be reached; `requested` cannot.";
    GuardFailed = UNPROCESSABLE_ENTITY "guard-failed", "A condition of the move does not hold",
        "`guard` names the condition.";
    CurrencyMismatch = UNPROCESSABLE_ENTITY "currency-mismatch", "The currencies differ",
        "`expected` is the budget's, `got` the request's.";
    HistoryExpired = UNPROCESSABLE_ENTITY "history-expired", "The history is no longer kept",
        "It reaches back to `earliest`.";
    SpanTooLong = UNPROCESSABLE_ENTITY "span-too-long", "The span is longer than the route bears",
        "Ask for at most `limit`, several times.";
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY "idempotency-key-reused", "The Idempotency-Key was used for another request",
        "The same key with another body within 24 hours. Use a new key for a new request.";
    PreconditionRequired = PRECONDITION_REQUIRED "precondition-required", "If-Match is missing",
        "Send `If-Match: \"v<version>\"` with the version you read, so that no change of another is overwritten.";
    RateLimited = TOO_MANY_REQUESTS "rate-limited", "Too many requests",
        "Wait `retry_after_s`; `scope` says whose limit it is.";
    Internal = INTERNAL_SERVER_ERROR "internal", "Something went wrong on our side",
        "The cause is in the server's log under the request id.";
    NotImplemented = NOT_IMPLEMENTED "not-implemented", "This option is not served",
        "A standard's option that this product does not offer.";
    UpstreamFailed = BAD_GATEWAY "upstream-failed", "Another system failed",
        "`upstream` names it.";
    Unavailable = SERVICE_UNAVAILABLE "unavailable", "A part does not answer",
        "`part` names it. Of a write nothing was taken; readings may be in the log all the same, and those with a time count once. Send again after `Retry-After`.";
    NotCaughtUp = SERVICE_UNAVAILABLE "not-caught-up", "The views do not have that write yet",
        "The request asked to wait for `wanted`; the views have `reached`. Try again.";
}

impl Slug {
    /// The kind with this word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|slug| slug.as_str() == text)
    }
}
