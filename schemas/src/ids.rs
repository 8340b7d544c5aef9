//! Identifiers as types: a tenant is not a sensor, and neither is any string.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("tenant {0:?} is not a slug: [a-z0-9][a-z0-9-]{{0,62}}")]
    Tenant(String),
    #[error("sensor id is empty")]
    SensorEmpty,
    #[error("sensor id has {0} bytes, more than {max}", max = SensorId::MAX_BYTES)]
    SensorTooLong(usize),
    #[error("sensor id holds the control character U+{0:04X}")]
    SensorControl(u32),
    #[error("sensor id holds the MQTT wildcard {0:?}")]
    SensorWildcard(char),
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Takes a text that was checked when it was first seen, as everything in the store was.
            pub fn trusted(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// A tenant: a slug, the first part of every key.
    ///
    /// Deserialising does not check; use [`TenantId::parse`] at the edge.
    TenantId
}

text_id! {
    /// A sensor: the device's own id, 1 to 256 bytes, taken as it is.
    ///
    /// Deserialising does not check; use [`SensorId::parse`] at the edge.
    SensorId
}

impl TenantId {
    /// Checks `[a-z0-9][a-z0-9-]{0,62}`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = (1..=63).contains(&text.len())
            && text.bytes().next().is_some_and(slug)
            && text.bytes().all(|b| slug(b) || b == b'-');
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(IdError::Tenant(text.chars().take(80).collect()))
        }
    }
}

impl SensorId {
    /// The longest id, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Takes a text that [`SensorId::check`] lets pass.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    /// Checks length, control characters and MQTT's wildcards `+` and `#`.
    pub fn check(text: &str) -> Result<(), IdError> {
        if text.is_empty() {
            return Err(IdError::SensorEmpty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(IdError::SensorTooLong(text.len()));
        }
        for c in text.chars() {
            if c.is_control() {
                return Err(IdError::SensorControl(c as u32));
            }
            if matches!(c, '+' | '#') {
                return Err(IdError::SensorWildcard(c));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_slugs() {
        for good in ["a", "default", "city-7", "0x"] {
            assert!(TenantId::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in ["", "-a", "A", "a_b", "a/b", "ä", long.as_str()] {
            assert!(TenantId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sensor_ids_are_taken_as_they_are_within_bounds() {
        let longest = "x".repeat(256);
        for good in [
            "a",
            "purpleair/151502/pm2.5_alt_a",
            "Büro 3",
            longest.as_str(),
        ] {
            assert!(SensorId::parse(good).is_ok(), "{good}");
        }
        let too_long = "x".repeat(257);
        for bad in ["", "a\nb", "a+b", "#", too_long.as_str(), "\u{7f}"] {
            assert!(SensorId::parse(bad).is_err(), "{bad}");
        }
    }
}
