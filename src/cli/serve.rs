//! `vestibule serve`: runs the server.

use super::CommandError;
use crate::app::App;
use crate::config::Config;
use crate::server;
use crate::storage::Database;

pub(super) fn run(config: &Config) -> Result<(), CommandError> {
    let claimed = Database::claim(&config.database)
        .map_err(|error| CommandError::Failed(format!("the database {:?} cannot be used: {error}", config.database)))?;
    let Some(_claim) = claimed else {
        return Err(CommandError::Failed(format!(
            "another server uses the database {:?}; several servers need PostgreSQL",
            config.database
        )));
    };
    let app = App::start(config)?;
    let served = actix_web::rt::System::new().block_on(async {
        let running = server::serve(&app, config.server.listen)?;
        log::info!(
            "listening on http://{}, public URL {}",
            config.server.listen,
            config.server.public_url
        );
        running.await
    });
    log::info!("stopping: work that is under way is finished");
    app.stop();
    log::info!("stopped");
    served.map_err(|error| CommandError::Failed(format!("cannot listen on {}: {error}", config.server.listen)))
}
