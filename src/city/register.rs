//! Registers the city's sensors over the API.
//!
//! What a newcomer would get wrong: a sensor that is there already is no error. The folder may be of a
//! former run, and people may have changed its thresholds since.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::plan::{Device, Plan};
use crate::client::{Client, ClientError, problem};

/// Registrations under way at once.
const AT_ONCE: usize = 32;
/// The shortest there is.
const OFFLINE_TIMEOUT_MS: i64 = 60_000;
const WHAT: &str = "registering a sensor";

/// Registers all sensors.
pub async fn all(plan: &Plan, client: &Client) -> Result<(), anyhow::Error> {
    let interval_ms = plan.interval.as_millis() as i64;
    let mut registering = JoinSet::new();
    for device in &plan.devices {
        if registering.len() >= AT_ONCE {
            finish_one(&mut registering).await?;
        }
        registering.spawn(one(client.clone(), body(device, interval_ms)));
    }
    while !registering.is_empty() {
        finish_one(&mut registering).await?;
    }
    Ok(())
}

async fn finish_one(
    registering: &mut JoinSet<Result<(), ClientError>>,
) -> Result<(), anyhow::Error> {
    match registering.join_next().await {
        Some(ended) => Ok(ended??),
        None => Ok(()),
    }
}

async fn one(client: Client, body: Value) -> Result<(), ClientError> {
    let request = client
        .request(Method::POST, "/api/v1/iot/sensors")
        .json(&body);
    let response = client.send(WHAT, request).await?;
    let status = response.status();
    if status.is_success() || status == StatusCode::CONFLICT {
        return Ok(());
    }
    Err(ClientError::Refused {
        what: WHAT.to_owned(),
        status,
        detail: problem(response).await,
    })
}

fn body(device: &Device, interval_ms: i64) -> Value {
    let limits = device.curve.limits();
    json!({
        "sensor_id": device.sensor_id,
        "sensor_type": device.sensor_type,
        "unit": device.unit,
        "asset_id": device.asset_id,
        "location": { "type": "Point", "coordinates": [device.longitude, device.latitude] },
        "thresholds": {
            "warning_max": limits.warning_max,
            "critical_max": limits.critical_max,
            "deadband": limits.deadband,
        },
        "offline_timeout_ms": OFFLINE_TIMEOUT_MS.max(3 * interval_ms),
        "reporting_interval_ms": interval_ms.max(10),
    })
}
