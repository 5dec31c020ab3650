//! The state of outbound targets, and their work.

use super::{Context, OperationError, Right, configured};
use crate::domain::TargetName;
use crate::provisioning::{ReplayScope, TargetStatus, operate};
use crate::storage::outbound::OutboundRow;

/// The number of failures that are read per target.
const FAILURES: u16 = 20;

/// A target with its failures.
pub struct TargetReport {
    /// The state.
    pub status: TargetStatus,
    /// The first failures.
    pub failures: Vec<OutboundRow>,
}

/// The state of every target.
pub fn status(context: &Context) -> Result<Vec<TargetReport>, OperationError> {
    context.administrator.must(Right::Read)?;
    let report = |target| {
        Ok(TargetReport {
            status: operate::status(&context.database, target)?,
            failures: operate::failed(&context.database, target, FAILURES)?,
        })
    };
    context.names.targets.iter().map(report).collect()
}

/// Pauses a target: changes wait until it is resumed.
pub fn pause<'a>(context: &'a Context, target: &str, reason: &str) -> Result<&'a TargetName, OperationError> {
    context.administrator.must(Right::ManageTargets)?;
    let target = known(context, target)?;
    if reason.trim().is_empty() {
        return Err(OperationError::Invalid(
            "The reason is empty: leave it out, or say why.".to_owned(),
        ));
    }
    operate::pause(&context.database, target, reason)?;
    context.record("target_paused", |event| event.object = Some(target.to_string()));
    Ok(target)
}

/// Resumes a paused target. If the delete limit paused it, this confirms the deletes.
pub fn resume<'a>(context: &'a Context, target: &str) -> Result<&'a TargetName, OperationError> {
    context.administrator.must(Right::ManageTargets)?;
    let target = known(context, target)?;
    operate::resume(&context.database, target)?;
    context.record("target_resumed", |event| event.object = Some(target.to_string()));
    Ok(target)
}

/// The resources that a replay would send again, by target. Without a target all targets are meant.
pub(crate) fn preview_replay<'a>(
    context: &'a Context,
    target: Option<&str>,
    scope: &ReplayScope,
) -> Result<Vec<(&'a TargetName, Vec<OutboundRow>)>, OperationError> {
    context.administrator.must(Right::Read)?;
    let rows = |target| Ok((target, operate::preview(&context.database, target, scope, u16::MAX)?));
    chosen(context, target)?.into_iter().map(rows).collect()
}

/// Makes resources due again, and returns their number. The running server sends them.
pub fn replay(context: &Context, target: Option<&str>, scope: &ReplayScope) -> Result<usize, OperationError> {
    context.administrator.must(Right::ManageTargets)?;
    let mut total = 0;
    for target in chosen(context, target)? {
        total += operate::replay(&context.database, target, scope.clone(), context.clock.now())?;
    }
    context.record("resources_sent_again", |event| event.object = target.map(str::to_owned));
    Ok(total)
}

fn chosen<'a>(context: &'a Context, target: Option<&str>) -> Result<Vec<&'a TargetName>, OperationError> {
    match target {
        Some(name) => Ok(vec![known(context, name)?]),
        None => Ok(context.names.targets.iter().collect()),
    }
}

fn known<'a>(context: &'a Context, name: &str) -> Result<&'a TargetName, OperationError> {
    configured("target", &context.names.targets, name)
}
