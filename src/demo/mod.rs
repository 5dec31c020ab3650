//! `vestibule demo`: three Vestibules and a wiki on loopback, in a temporary folder, and a tour of the main job.
//!
//! **acme** is a company's identity provider with users and passwords, **hub** is the product as configured for a service
//! provider, the wiki, and **saas** is a downstream system that is told of changes. All three are this same program.

mod browser;
mod script;
mod tour;
pub mod wiki;
mod world;

use actix_web::rt::System;

use world::World;

/// Why the demonstration did not work out.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something could not be started.
    #[error("the demo cannot start: {0}")]
    Start(String),
    /// A step of the tour did not happen.
    #[error("the demo failed at: {step}\n  {cause}")]
    Step {
        /// What should have happened.
        step: &'static str,
        /// What happened instead.
        cause: String,
    },
}

impl DemoError {
    fn start(error: impl std::fmt::Display) -> Self {
        Self::Start(error.to_string())
    }
}

/// Starts everything. With `scripted` the tour walks by itself and ends; else its links are printed, and it runs until it
/// is told to stop.
pub fn run(scripted: bool) -> Result<(), DemoError> {
    let world = World::build()?;
    let outcome = System::new().block_on(async {
        let servers = world.serve()?;
        let outcome = if scripted {
            let tour = world.tour();
            let walked = actix_web::rt::task::spawn_blocking(move || script::walk(&tour)).await;
            walked.map_err(DemoError::start).flatten()
        } else {
            tour::print(&world.tour());
            actix_web::rt::signal::ctrl_c().await.map_err(DemoError::start)
        };
        for server in servers {
            server.stop(false).await;
        }
        outcome
    });
    world.end();
    outcome
}
