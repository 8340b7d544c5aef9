//! `ingest`, `serve` and `views run`: the parts of `up`, each as a process of its own.

use crate::{
    cli::{IngestArgs, RunViewsArgs, ServeArgs, ServerArgs},
    exit::Outcome,
    platform::{Platform, Role},
    signals, up,
};

/// Runs `ingest`.
pub async fn ingest(args: IngestArgs) -> Outcome {
    let server = ServerArgs {
        mqtt: args.mqtt,
        instance: args.instance,
        ..args.process.server()
    };
    run(server, args.process.dev, Role::Ingest, None).await
}

/// Runs `serve`.
pub async fn serve(args: ServeArgs) -> Outcome {
    let server = args.process.server();
    run(server, args.process.dev, Role::Serve, args.views).await
}

/// Runs `views run`.
pub async fn run_views(args: RunViewsArgs) -> Outcome {
    let server = ServerArgs {
        workers: args.workers,
        ..args.process.server()
    };
    run(server, args.process.dev, Role::Views, None).await
}

async fn run(args: ServerArgs, dev: bool, role: Role, views: Option<String>) -> Outcome {
    let mut config = up::prepare(&args, dev, "info")?;
    config.check_shared(role.command())?;
    config.views.url = views.or(config.views.url);
    config.check_servers()?;
    let cancel = signals::cancel_on_signal(up::DRAINING);
    let platform = Platform::start(config, dev, role).await?;
    up::announce(&platform.addresses, role, args.json);
    platform.run(cancel).await
}
