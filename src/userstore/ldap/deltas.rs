//! Computes the modifications of an entry (pure functions).

use std::collections::BTreeSet;

use super::entry::Entry;
use super::flavour::DisableRule;
use super::mapping::{Mapping, Values, is_off};
use super::session::Delta;

/// Returns the modifications that bring an entry to a resource's new state, for attributes that the resource changed:
/// single values, not whole attributes, so that values added by others stay. The naming attribute is left out if the
/// entry is renamed.
pub(super) fn of_attributes(
    mapping: &Mapping,
    (old, new): (&Values, &Values),
    entry: &Entry,
    renamed: bool,
) -> Vec<Delta> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let none = BTreeSet::new();
    let mut deltas = Vec::new();
    for name in names {
        if renamed && name.eq_ignore_ascii_case(&mapping.rdn) {
            continue;
        }
        let (before, after) = (old.get(name).unwrap_or(&none), new.get(name).unwrap_or(&none));
        if before == after {
            continue;
        }
        let present = entry.values(name);
        if mapping.flavour.is_single_valued(name) {
            if !present.iter().eq(after) {
                deltas.push(Delta::Replace(name.clone(), bytes(after.iter().take(1))));
            }
            continue;
        }
        let going = bytes(before.difference(after).filter(|value| present.contains(value)));
        let coming = bytes(after.difference(before).filter(|value| !present.contains(value)));
        if !going.is_empty() {
            deltas.push(Delta::Delete(name.clone(), going));
        }
        if !coming.is_empty() {
            deltas.push(Delta::Add(name.clone(), coming));
        }
    }
    deltas
}

/// Returns the modification that enables or disables an account; `None` if it is in that state already.
pub(super) fn of_switch(switch: Option<DisableRule>, off: bool, entry: &Entry) -> Option<Delta> {
    let switch = switch.filter(|switch| is_off(*switch, entry) != off)?;
    Some(match switch {
        DisableRule::Value(attribute, value) => {
            let values = if off {
                vec![value.as_bytes().to_vec()]
            } else {
                Vec::new()
            };
            Delta::Replace(attribute.to_owned(), values)
        }
        DisableRule::Bit(attribute, bit) => {
            let control = entry.number(attribute);
            let control = if off { control | bit } else { control & !bit };
            Delta::Replace(attribute.to_owned(), vec![control.to_string().into_bytes()])
        }
    })
}

/// Returns the modifications that undo `deltas`.
pub(super) fn inverse(deltas: &[Delta], entry: &Entry) -> Vec<Delta> {
    let inverse = deltas.iter().rev().map(|delta| match delta.clone() {
        Delta::Add(name, values) => Delta::Delete(name, values),
        Delta::Delete(name, values) => Delta::Add(name, values),
        Delta::Replace(name, _) => {
            let before = bytes(entry.values(&name).iter());
            Delta::Replace(name, before)
        }
    });
    inverse.collect()
}

pub(super) fn bytes<'a>(values: impl Iterator<Item = &'a String>) -> Vec<Vec<u8>> {
    values.map(|value| value.clone().into_bytes()).collect()
}
