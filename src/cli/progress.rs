//! Progress on the terminal while a command works long.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A spinner with a message on standard error. Nothing is shown in scripts, and if standard error is no terminal.
pub(super) fn spinner(json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}

/// A bar for a known number of steps. Nothing is shown if standard error is no terminal.
pub(super) fn bar(steps: usize, noun: &str) -> ProgressBar {
    let progress = ProgressBar::new(u64::try_from(steps).unwrap_or(u64::MAX));
    let template = format!("{{bar:40}} {{pos}} of {{len}} {noun}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        progress.set_style(style);
    }
    progress
}
