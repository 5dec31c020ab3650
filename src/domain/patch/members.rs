//! Recognises changes of a group's members that do not depend on its present members.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PatchOp, PatchOperation};
use crate::domain::filter::{Comparand, Filter, Operator};
use crate::domain::path::Path;
use crate::domain::validate::check_attribute;
use crate::domain::{Member, ResourceId};

/// One step of a change of members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberStep {
    /// Adds these; existing members are not changed.
    Join(Vec<Member>),
    /// Removes these if they are members.
    Leave(Vec<ResourceId>),
    /// Removes all members.
    Clear,
    /// Sets exactly these; existing members take the form given here.
    Replace(Vec<Member>),
}

/// Returns the operations as steps if each is valid, is about `members` alone and determines by itself which members it
/// adds or removes. A group of any size then need not be read. `None` also for no operations at all.
pub(crate) fn members_only(operations: &[PatchOperation]) -> Option<Vec<MemberStep>> {
    if operations.is_empty() {
        return None;
    }
    operations.iter().map(step).collect()
}

fn step(operation: &PatchOperation) -> Option<MemberStep> {
    let path = operation.path.as_ref()?;
    let attribute = &path.attribute;
    if attribute.extension.is_some() || attribute.sub.is_some() || attribute.attribute.name != "members" {
        return None;
    }
    // An invalid value is refused where the whole group is checked.
    if operation
        .value
        .as_ref()
        .is_some_and(|value| check_attribute("members", &attribute.attribute, Some(value)).is_err())
    {
        return None;
    }
    match (operation.op, path, &operation.value) {
        (PatchOp::Add, Path { filter: None, .. }, Some(Value::Array(elements))) => {
            as_members(elements).map(MemberStep::Join)
        }
        (PatchOp::Replace, Path { filter: None, .. }, Some(Value::Array(elements))) => {
            as_members(elements).map(MemberStep::Replace)
        }
        (
            PatchOp::Remove,
            Path {
                filter: Some(filter), ..
            },
            _,
        ) => {
            let mut leaving = Vec::new();
            listed(filter, &mut leaving).then_some(MemberStep::Leave(leaving))
        }
        (PatchOp::Remove, Path { filter: None, .. }, None) => Some(MemberStep::Clear),
        (PatchOp::Remove, Path { filter: None, .. }, Some(Value::Array(elements))) => {
            as_members(elements).map(|members| MemberStep::Leave(members.into_iter().map(|member| member.id).collect()))
        }
        _ => None,
    }
}

/// Elements of `members` as they are stored; `None` if one has no `value` or a longer one than an id can have.
pub(crate) fn as_members(elements: &[Value]) -> Option<Vec<Member>> {
    let member = |element: &Value| {
        let id = ResourceId::new(element.get("value")?.as_str()?);
        id.is_storable().then_some(())?;
        Some(Member {
            id,
            body: element.to_string(),
        })
    };
    elements.iter().map(member).collect()
}

/// Collects the ids of `value eq "a" or value eq "b"`; false for any other filter.
fn listed(filter: &Filter, ids: &mut Vec<ResourceId>) -> bool {
    match filter {
        Filter::Compare {
            attribute,
            operator: Operator::Eq,
            value: Comparand::Text(id),
        } if attribute.leaf().name == "value" && attribute.leaf().case_exact => {
            ids.push(ResourceId::new(id.clone()));
            true
        }
        Filter::Or(terms) => terms.iter().all(|term| listed(term, ids)),
        _ => false,
    }
}
