//! `up`: the server, until a signal ends it.
//!
//! What a newcomer would get wrong: the addresses are printed when they are bound, which is before the
//! views have caught up with the log; `/health/ready` and `/api/v1/views` tell about that.

use crate::{
    cli::{ServerArgs, UpArgs},
    config::Config,
    exit::{Failure, Outcome},
    logging,
    platform::{Addresses, Platform, Role},
    signals,
};

/// What a person reads after the first signal.
pub const DRAINING: &str = "finishing what was taken; a second signal stops at once";

/// Runs the whole command.
pub async fn run(args: UpArgs) -> Outcome {
    let config = prepare(&args.server, args.dev, "info")?;
    // Before anything is opened, so that a signal during a long start is heard.
    let cancel = signals::cancel_on_signal(DRAINING);
    let platform = Platform::start(config, args.dev, Role::All).await?;
    announce(&platform.addresses, Role::All, args.server.json);
    platform.run(cancel).await
}

/// Reads the configuration and starts logging, before any port opens.
pub fn prepare(args: &ServerArgs, dev: bool, filter: &str) -> Result<Config, Failure> {
    let config = Config::load(args, dev)?;
    let filter = config.log.filter.as_deref().unwrap_or(filter);
    logging::start(filter, config.log.json).map_err(Failure::usage)?;
    Ok(config)
}

/// Tells where the server listens, on standard output: port 0 has become a port by now.
pub fn announce(addresses: &Addresses, role: Role, json: bool) {
    if json {
        println!("{}", serde_json::json!({ "listening": addresses }));
        return;
    }
    let Addresses { http, mqtt, mqtts } = addresses;
    if role.answers_the_api() {
        println!("API        http://{http}/api/v1");
        println!("docs       http://{http}/docs");
    } else {
        println!("HTTP       http://{http}");
    }
    if let Some(mqtt) = mqtt {
        println!("MQTT       mqtt://{mqtt}");
    }
    if let Some(mqtts) = mqtts {
        println!("MQTT, TLS  mqtts://{mqtts}");
    }
}
