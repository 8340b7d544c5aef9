//! Credentials that are not good: each try is counted once.

use crate::app::TestApp;

const PATH: &str = "/api/v1/views";

#[tokio::test]
async fn a_wrong_key_is_counted_once() {
    let app = TestApp::guarded().await;
    for header in ["x-api-key", "authorization"] {
        let key = match header {
            "authorization" => "Bearer prefix.secret",
            _ => "prefix.secret",
        };
        let answer = app.call("GET", PATH, &[(header, key)], None).await;
        answer.problem(401, "invalid-credentials");
    }
    let wrong = ("the credentials are wrong".to_owned(), None);
    assert_eq!(app.intake.refused(), [wrong.clone(), wrong]);
}

#[tokio::test]
async fn who_shows_none_has_not_tried_one() {
    let app = TestApp::guarded().await;
    app.refused(PATH, 401, "unauthenticated").await;
    assert!(app.intake.refused().is_empty());
}
