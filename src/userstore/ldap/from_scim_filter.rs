//! Translates a SCIM filter into an LDAP filter, as far as LDAP can express it (pure functions).
//!
//! The result matches every entry whose resource matches by values that LDAP holds. It may match more; the copy
//! completes the filter. It need not match a resource that matches only by values that the copy alone has.

use super::filter::LdapFilter;
use super::mapping::Mapping;
use crate::domain::filter::{Comparand, Filter, Operator};

/// Returns the narrowest LDAP filter that holds wherever this one does; `None` if it would match everything.
pub(super) fn narrow(mapping: &Mapping, filter: &Filter) -> Option<LdapFilter> {
    match compile(mapping, filter) {
        LdapFilter::All => None,
        narrowed => Some(narrowed),
    }
}

fn compile(mapping: &Mapping, filter: &Filter) -> LdapFilter {
    match filter {
        Filter::Constant(false) => LdapFilter::None,
        Filter::And(terms) => terms
            .iter()
            .map(|term| compile(mapping, term))
            .fold(LdapFilter::All, LdapFilter::and),
        Filter::Or(terms) => {
            let terms: Vec<LdapFilter> = terms
                .iter()
                .map(|term| compile(mapping, term))
                .filter(|term| *term != LdapFilter::None)
                .collect();
            match terms.len() {
                0 => LdapFilter::None,
                _ if terms.contains(&LdapFilter::All) => LdapFilter::All,
                _ => LdapFilter::Or(terms),
            }
        }
        // Both sides of an element's filter hold for the element, and so for the resource.
        Filter::Element { filter, .. } => compile(mapping, filter),
        Filter::Compare {
            attribute,
            operator: operator @ (Operator::Eq | Operator::Co | Operator::Sw | Operator::Ew),
            value: Comparand::Text(text),
        } if attribute
            .sub
            .as_ref()
            .is_none_or(|sub| !attribute.attribute.multi_valued || sub.name == "value") =>
        {
            let holders: Vec<LdapFilter> = mapping
                .ldap_of(attribute)
                .map(|ldap| piece(ldap, *operator, text))
                .collect();
            match holders.len() {
                0 => LdapFilter::All,
                _ if holders.contains(&LdapFilter::All) => LdapFilter::All,
                1 => holders.into_iter().next().unwrap_or(LdapFilter::All),
                _ => LdapFilter::Or(holders),
            }
        }
        // The negation of a filter that may be too wide would be too narrow; times, flags and order are checked in the
        // copy.
        Filter::Constant(true) | Filter::Not(_) | Filter::Present(_) | Filter::Compare { .. } => LdapFilter::All,
    }
}

/// Returns a comparison with a text. Servers fold non-ASCII letters differently, so only the ASCII parts are compared.
pub(super) fn piece(ldap: &str, operator: Operator, text: &str) -> LdapFilter {
    if text.trim().is_empty() {
        return LdapFilter::All;
    }
    let is_plain = text.is_ascii() && !text.contains('\0') && text.trim() == text && !text.contains("  ");
    if is_plain {
        return match operator {
            Operator::Eq => LdapFilter::equal(ldap, text),
            Operator::Sw => LdapFilter::Pieces(ldap.to_owned(), vec![text.to_owned(), String::new()]),
            Operator::Ew => LdapFilter::Pieces(ldap.to_owned(), vec![String::new(), text.to_owned()]),
            _ => LdapFilter::Pieces(ldap.to_owned(), vec![String::new(), text.to_owned(), String::new()]),
        };
    }
    // A letter before a combining mark may form one character with it.
    let mut pieces: Vec<String> = vec![String::new()];
    let mut run = String::new();
    for c in text.chars().chain(['\u{0}']) {
        if c.is_ascii_alphanumeric() {
            run.push(c);
        } else {
            if !c.is_ascii() {
                run.pop();
            }
            if run.len() > 1 {
                pieces.push(std::mem::take(&mut run));
            }
            run.clear();
        }
    }
    if pieces.len() == 1 {
        return LdapFilter::All;
    }
    pieces.push(String::new());
    LdapFilter::Pieces(ldap.to_owned(), pieces)
}
