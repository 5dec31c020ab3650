//! `vestibule demo`: three Vestibules and a wiki on loopback, in a temporary folder, and a guided tour.
//!
//! **acme** is a company's identity provider with users and passwords, **hub** is the product as configured for a
//! service provider, the wiki, and **saas** is a downstream system that receives changes. All three run this program.

mod browser;
mod script;
mod tour;
pub mod wiki;
mod world;

use actix_web::rt::System;

use world::DemoWorld;

/// The error of the demonstration.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A part could not be started.
    #[error("the demo cannot start: {0}")]
    Start(String),
    /// A step of the tour failed.
    #[error("the demo failed at: {step}\n  {cause}")]
    Step {
        /// The step.
        step: &'static str,
        /// The result instead.
        cause: String,
    },
}

impl DemoError {
    fn start(error: impl std::fmt::Display) -> Self {
        Self::Start(error.to_string())
    }
}

/// Starts the demonstration. With `scripted` the tour runs by itself and ends; otherwise it prints the links and runs
/// until it is stopped.
pub fn run(scripted: bool) -> Result<(), DemoError> {
    let world = DemoWorld::build()?;
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
