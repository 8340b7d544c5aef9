//! Which sensor a topic names.
//!
//! All that stands between `sensors/` and the last `/data` is the sensor's id, slashes included. Whether
//! it is a good id is for the intake to say; here only the topic's shape is judged.

/// What a topic names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    /// The tenant, where the topic names one.
    pub tenant: Option<&'a str>,
    pub sensor: &'a str,
}

impl<'a> Route<'a> {
    /// Reads `sensors/{sensor_id}/data` or `tenants/{tenant}/sensors/{sensor_id}/data`.
    pub fn of(topic: &'a str) -> Option<Self> {
        if topic.contains(['+', '#', '\0']) {
            return None;
        }
        let (tenant, rest) = match topic.strip_prefix("tenants/") {
            Some(rest) => {
                let (tenant, rest) = rest.split_once('/')?;
                (Some(tenant).filter(|t| !t.is_empty()).map(Some)?, rest)
            }
            None => (None, topic),
        };
        let sensor = rest.strip_prefix("sensors/")?.strip_suffix("/data")?;
        (!sensor.is_empty()).then_some(Self { tenant, sensor })
    }
}

/// What to tell whoever sent to a topic that names no sensor.
pub(crate) fn refusal(topic: &str) -> String {
    let shown: String = topic.chars().take(200).collect();
    format!(
        "topic {shown:?}: expected sensors/{{sensor_id}}/data or tenants/{{tenant}}/sensors/{{sensor_id}}/data"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(topic: &str, expected: Option<(Option<&str>, &str)>) {
        let route = Route::of(topic).map(|r| (r.tenant, r.sensor));
        assert_eq!(route, expected, "{topic}");
    }

    #[test]
    fn ids_may_hold_slashes() {
        check("sensors/a/data", Some((None, "a")));
        check("sensors/a/b/c/data", Some((None, "a/b/c")));
        check("sensors/data/data", Some((None, "data")));
        check("sensors/a/data/data", Some((None, "a/data")));
        check("sensors/ /data", Some((None, " ")));
    }

    #[test]
    fn a_tenant_is_one_level() {
        check("tenants/acme/sensors/a/data", Some((Some("acme"), "a")));
        check(
            "tenants/acme/sensors/sensors/x/data",
            Some((Some("acme"), "sensors/x")),
        );
        check("tenants//sensors/a/data", None);
        check("tenants/a/b/sensors/a/data", None);
        check("tenants/acme/data", None);
    }

    #[test]
    fn anything_else_names_no_sensor() {
        for topic in [
            "",
            "sensors",
            "sensors/data",
            "sensors//data",
            "sensors/a",
            "sensors/a/data/",
            "/sensors/a/data",
            "Sensors/a/data",
            "sensors/+/data",
            "sensors/a#/data",
            "spBv1.0/g/NBIRTH/n",
        ] {
            check(topic, None);
        }
    }
}
