//! Why there is no connection to the broker, in words that name the setting to look at.
//!
//! What a newcomer would get wrong: with TLS 1.3 a broker that misses our certificate says so after the handshake,
//! so that it comes as any other loss of a connection; only the alert's name tells.

use rumqttc::v5::{
    ConnectionError, StateError,
    mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode},
};

/// The library's words, and what to set where that is known. Holds no password.
pub(crate) fn of(error: &ConnectionError, client_id: &str) -> String {
    match error {
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            ..
        }) => format!(
            "another client connected with the client id {client_id:?}; each process needs its own: \
             --instance, or {{instance}} in client_id"
        ),
        ConnectionError::ConnectionRefused(code)
        | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => refused(*code),
        other => {
            let text = other.to_string();
            match hint(&text) {
                Some(hint) => format!("{text}; {hint}"),
                None => text,
            }
        }
    }
}

fn refused(code: ConnectReturnCode) -> String {
    use ConnectReturnCode as Code;
    let hint = match code {
        Code::BadUserNamePassword | Code::NotAuthorized => "; are user and password right?",
        Code::BadClientId | Code::ClientIdentifierNotValid => "; is client_id one that it takes?",
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => {
            "; it has to speak MQTT 5"
        }
        _ => "",
    };
    format!("the broker refused the connection: {code:?}{hint}")
}

/// What TLS says, as far as a setting answers it.
fn hint(text: &str) -> Option<&'static str> {
    [
        (
            "NotValidForName",
            "the broker's certificate is for another name than the host in url",
        ),
        (
            "invalid peer certificate",
            "is tls.ca what signed the broker's certificate?",
        ),
        (
            "CertificateRequired",
            "the broker asks for a certificate: set tls.cert and tls.key",
        ),
        (
            "fatal alert",
            "does the broker trust tls.cert, and is it TLS at this port?",
        ),
        ("InvalidContentType", "is it TLS at this port?"),
    ]
    .into_iter()
    .find_map(|(word, hint)| text.contains(word).then_some(hint))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn refusal(code: ConnectReturnCode) -> String {
        of(&ConnectionError::ConnectionRefused(code), "a")
    }

    #[test]
    fn what_to_set_is_named() {
        assert!(refusal(ConnectReturnCode::NotAuthorized).contains("user and password"));
        assert!(refusal(ConnectReturnCode::BadClientId).contains("client_id"));
        assert!(!refusal(ConnectReturnCode::ServerBusy).contains(';'));
        let taken = StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            reason_string: None,
        };
        let text = of(&taken.into(), "ingest-0");
        assert!(
            text.contains("\"ingest-0\"") && text.contains("--instance"),
            "{text}"
        );
    }

    #[test]
    fn what_tls_says_is_answered() {
        let tls = |error: rustls::Error| {
            of(
                &ConnectionError::Io(io::Error::new(io::ErrorKind::InvalidData, error)),
                "a",
            )
        };
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(tls(unknown).contains("tls.ca"));
        let name = rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForName);
        assert!(tls(name).contains("host in url"));
        let wanted = rustls::AlertDescription::CertificateRequired;
        assert!(tls(rustls::Error::AlertReceived(wanted)).contains("tls.cert and tls.key"));
        assert_eq!(of(&ConnectionError::RequestsDone, "a"), "Requests done");
    }
}
