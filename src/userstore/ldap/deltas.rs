//! What has to change in an entry. Pure.

use std::collections::BTreeSet;

use super::entry::Entry;
use super::flavour::Switch;
use super::mapping::{Mapping, Values, is_off};
use super::wire::Delta;

/// The changes that make an entry what a resource is now, of the attributes that the resource changed: single values, not
/// whole attributes, so that what others have put there stays. The attribute that names the entry is left out if the
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

/// The change that switches somebody on or off; `None` if they are so already.
pub(super) fn of_switch(switch: Option<Switch>, off: bool, entry: &Entry) -> Option<Delta> {
    let switch = switch.filter(|switch| is_off(*switch, entry) != off)?;
    Some(match switch {
        Switch::Value(attribute, value) => {
            let values = if off {
                vec![value.as_bytes().to_vec()]
            } else {
                Vec::new()
            };
            Delta::Replace(attribute.to_owned(), values)
        }
        Switch::Bit(attribute, bit) => {
            let control = entry.number(attribute);
            let control = if off { control | bit } else { control & !bit };
            Delta::Replace(attribute.to_owned(), vec![control.to_string().into_bytes()])
        }
    })
}

/// What puts an entry back as it was.
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
