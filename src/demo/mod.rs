//! The demonstration: what `vestibule demo` starts beside the Vestibules themselves.

pub mod wiki;

/// Runs it.
pub fn run(_script: bool) -> Result<(), String> {
    Err(String::new())
}
