//! The name of a process's session at the broker, made from a pattern.
//!
//! What a newcomer would get wrong: processes that share one file of settings must not share a session: the
//! broker would throw one out for the other. So the pattern holds what differs between them.

use super::Config;

/// The longest that every broker can be expected to take.
const MOST_BYTES: usize = 256;

/// The client id by the settings' pattern, or what is wrong with that.
pub(crate) fn of(config: &Config) -> Result<String, String> {
    let instance = || config.instance.clone().or_else(host_name);
    let id = fill(&config.client_id, |placeholder| match placeholder {
        "instance" => {
            instance().ok_or_else(|| "this host has no name; say which instance it is".to_owned())
        }
        "name" => Ok(config.name.clone()),
        other => Err(format!(
            "{{{other}}} stands for nothing; {{instance}} and {{name}} do"
        )),
    })?;
    if id.is_empty() || id.len() > MOST_BYTES {
        return Err(format!("has to have 1 to {MOST_BYTES} bytes"));
    }
    Ok(id)
}

/// The pattern with what stands in braces replaced. A brace that none closes is a character like any other.
fn fill(pattern: &str, value: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((placeholder, behind)) = after.split_once('}') else {
            break;
        };
        filled.push_str(before);
        filled.push_str(&value(placeholder)?);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// As the kernel has it; in a container or a pod, its own.
fn host_name() -> Option<String> {
    let kernels = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernels.or_else(|| std::env::var("HOSTNAME").ok())?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(pattern: &str, instance: Option<&str>) -> Result<String, String> {
        of(&Config {
            client_id: pattern.to_owned(),
            instance: instance.map(str::to_owned),
            name: "east".to_owned(),
            ..Config::new("mqtt://b", "acme")
        })
    }

    #[test]
    fn the_default_holds_instance_and_name() {
        let default = Config::new("mqtt://b", "acme").client_id;
        assert_eq!(
            id(&default, Some("ingest-1")).unwrap(),
            "openinfra-ingest-1-east"
        );
        let host = host_name().unwrap();
        assert_eq!(
            id(&default, None).unwrap(),
            format!("openinfra-{host}-east")
        );
    }

    #[test]
    fn a_pattern_is_filled_and_plain_text_stays() {
        assert_eq!(
            id("city/{name}/{instance}!", Some("7")).unwrap(),
            "city/east/7!"
        );
        assert_eq!(id("ingest-0", Some("7")).unwrap(), "ingest-0");
        assert_eq!(id("a{b", None).unwrap(), "a{b");
    }

    #[test]
    fn what_is_no_client_id_is_told() {
        assert!(id("{host}", None).unwrap_err().contains("{host}"));
        assert!(id("", None).unwrap_err().contains("1 to 256"));
        assert!(id("{instance}", Some(&"x".repeat(257))).is_err());
    }
}
