//! Parses the text of a filter into a tree. Written by hand, because clients send more than the grammar allows.

use std::sync::Arc;

use super::scan::{Literal, Scanner};
use super::{DEEPEST, Filter, LONGEST, MOST_NODES, Operator, coerce, tolerance};
use crate::domain::schema::AttributeRef;
use crate::domain::schema::{DataType, ResourceType};
use crate::domain::validate::{Invalid, InvalidKind};

/// A filter and the names of the [`tolerance`]s that it needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The filter.
    pub filter: Filter,
    /// The deviations from the grammar; each name once.
    pub deviations: Vec<&'static str>,
}

/// The filter in the brackets of a PATCH path, `members[…`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ValueFilter<'a> {
    /// The filter over one element.
    pub filter: Filter,
    /// The text after it: `]` and the rest, or nothing if the bracket was never closed.
    pub rest: &'a str,
    /// The deviations from the grammar; each name once.
    pub deviations: Vec<&'static str>,
}

/// Reads a filter over one resource type (RFC 7644 §3.4.2.2). The error is `invalidFilter`, or `tooMany` for more than
/// [`MOST_NODES`] nodes, and never repeats the text.
pub fn parse(text: &str, resource_type: &ResourceType) -> Result<Filter, Invalid> {
    parse_with_deviations(text, resource_type).map(|parsed| parsed.filter)
}

/// Reads a path and returns its deviations from the grammar as well.
pub fn parse_with_deviations(text: &str, resource_type: &ResourceType) -> Result<Parsed, Invalid> {
    let mut parser = Parser::new(text)?;
    let filter = parser.any(&NameScope::Resource(resource_type))?;
    if !parser.scanner.rest().is_empty() {
        return Err(parser.scanner.error("and, or, or the end was expected"));
    }
    Ok(Parsed {
        filter,
        deviations: parser.deviations,
    })
}

/// Reads the filter after the `[` of a PATCH path (RFC 7644 §3.5.2) up to its `]`.
pub(crate) fn parse_value_filter<'a>(text: &'a str, attribute: &AttributeRef) -> Result<ValueFilter<'a>, Invalid> {
    let mut parser = Parser::new(text)?;
    let filter = parser.any(&NameScope::Element(attribute))?;
    Ok(ValueFilter {
        filter,
        rest: parser.scanner.rest(),
        deviations: parser.deviations,
    })
}

/// The scope in which the names of an expression are resolved.
enum NameScope<'a> {
    /// Attributes of a resource.
    Resource(&'a ResourceType),
    /// Parts of one element of an attribute.
    Element(&'a AttributeRef),
    /// Parts of an attribute that does not exist.
    Nothing,
}

impl NameScope<'_> {
    fn resolve(&self, path: &str) -> Option<AttributeRef> {
        match self {
            Self::Resource(resource_type) => resource_type.resolve(path),
            Self::Element(parent) if parent.attribute.data_type == DataType::Complex => {
                let sub = parent.attribute.sub(path)?;
                Some(AttributeRef {
                    sub: Some(Arc::clone(sub)),
                    ..(*parent).clone()
                })
            }
            Self::Element(parent) => path.eq_ignore_ascii_case("value").then(|| (*parent).clone()),
            Self::Nothing => None,
        }
    }
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    depth: usize,
    nodes: usize,
    deviations: Vec<&'static str>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, Invalid> {
        let scanner = Scanner::new(text);
        if text.len() > LONGEST {
            return Err(scanner.error("the filter is longer than 8 KiB"));
        }
        Ok(Self {
            scanner,
            depth: 0,
            nodes: 0,
            deviations: Vec::new(),
        })
    }

    /// One or more conjunctions with `or` between them, and the blanks around.
    fn any(&mut self, scope: &NameScope<'_>) -> Result<Filter, Invalid> {
        let mut terms = vec![self.all(scope)?];
        while self.scanner.eat_keyword("or") {
            self.expect_blank();
            terms.push(self.all(scope)?);
        }
        self.group(terms.len())?;
        Ok(disjunction(terms))
    }

    /// One or more terms with `and` between them.
    fn all(&mut self, scope: &NameScope<'_>) -> Result<Filter, Invalid> {
        let mut terms = vec![self.one(scope)?];
        self.blanks();
        while self.scanner.eat_keyword("and") {
            self.expect_blank();
            terms.push(self.one(scope)?);
            self.blanks();
        }
        self.group(terms.len())?;
        Ok(conjunction(terms))
    }

    /// A term, a negated term or a filter in parentheses.
    fn one(&mut self, scope: &NameScope<'_>) -> Result<Filter, Invalid> {
        self.blanks();
        if self.scanner.eat('(') {
            self.enter()?;
            let inner = self.any(scope)?;
            self.close(')', "a closing parenthesis is missing")?;
            self.depth -= 1;
            return Ok(inner);
        }
        if self.scanner.eat_keyword("not") {
            self.node()?;
            self.enter()?;
            self.blanks();
            if !self.scanner.next_is('(') {
                self.note(tolerance::BARE_NOT);
            }
            let inner = self.one(scope)?;
            self.depth -= 1;
            return Ok(negation(inner));
        }
        self.term(scope)
    }

    /// An attribute with an operator, or with brackets.
    fn term(&mut self, scope: &NameScope<'_>) -> Result<Filter, Invalid> {
        let path = self.path()?;
        let attribute = scope.resolve(path).or_else(|| self.unqualified(scope, path));
        self.blanks();
        if self.scanner.eat('[') {
            return self.element(scope, attribute);
        }
        if attribute.is_none() {
            if let Some(extension) = self.whole_extension(scope, path) {
                return Ok(extension);
            }
            self.note(tolerance::UNKNOWN_ATTRIBUTE);
        }
        self.comparison(attribute)
    }

    /// `manager eq "1"`: an extension's attribute without its URN.
    fn unqualified(&mut self, scope: &NameScope<'_>, path: &str) -> Option<AttributeRef> {
        let NameScope::Resource(resource_type) = scope else {
            return None;
        };
        let found = resource_type.resolve_unqualified(path)?;
        self.note(tolerance::UNQUALIFIED);
        Some(found)
    }

    /// `urn:…:User pr`: some attribute of the extension is present.
    fn whole_extension(&mut self, scope: &NameScope<'_>, path: &str) -> Option<Filter> {
        let NameScope::Resource(resource_type) = scope else {
            return None;
        };
        let urn = resource_type.extension(path)?.schema.id.clone();
        if !self.scanner.eat_keyword("pr") {
            return None;
        }
        self.scanner.blanks();
        let parts = resource_type
            .attributes()
            .filter(|part| part.extension.as_ref() == Some(&urn));
        Some(disjunction(
            parts
                .filter(|part| !part.attribute.is_secret())
                .map(Filter::Present)
                .collect(),
        ))
    }

    /// Reads the rest after `attribute[`.
    fn element(&mut self, scope: &NameScope<'_>, attribute: Option<AttributeRef>) -> Result<Filter, Invalid> {
        if !matches!(scope, NameScope::Resource(_)) {
            return Err(self.scanner.error("brackets cannot stand in brackets"));
        }
        self.node()?;
        self.enter()?;
        let inner_scope = match &attribute {
            Some(found) if found.sub.is_none() && is_listed_or_complex(found) => NameScope::Element(found),
            Some(_) => return Err(self.scanner.error("this attribute has no elements to choose from")),
            None => NameScope::Nothing,
        };
        if attribute.is_none() {
            self.note(tolerance::UNKNOWN_ATTRIBUTE);
        } else if attribute.as_ref().is_some_and(|found| !found.attribute.multi_valued) {
            self.note(tolerance::BRACKETS_ON_SINGLE);
        }
        let inner = self.any(&inner_scope)?;
        self.close(']', "a closing bracket is missing")?;
        self.depth -= 1;
        if !self.scanner.eat('.') {
            return Ok(in_element(attribute.as_ref(), inner));
        }
        self.note(tolerance::AFTER_BRACKETS);
        let path = self.path()?;
        let sub = inner_scope.resolve(path);
        if sub.is_none() {
            self.note(tolerance::UNKNOWN_ATTRIBUTE);
        }
        self.blanks();
        // A negative comparison negates the positive one as a whole, as it does without brackets.
        Ok(match self.comparison(sub)? {
            Filter::Not(positive) => negation(in_element(attribute.as_ref(), conjunction(vec![inner, *positive]))),
            Filter::Compare {
                attribute: part,
                operator: Operator::Ne,
                value,
            } => {
                let positive = Filter::Compare {
                    attribute: part,
                    operator: Operator::Eq,
                    value,
                };
                negation(in_element(attribute.as_ref(), conjunction(vec![inner, positive])))
            }
            Filter::Constant(true) => Filter::Constant(true),
            outer => in_element(attribute.as_ref(), conjunction(vec![inner, outer])),
        })
    }

    /// An operator and its value; a constant for an unknown attribute.
    fn comparison(&mut self, attribute: Option<AttributeRef>) -> Result<Filter, Invalid> {
        self.node()?;
        let Some(operator) = self.operator()? else {
            self.ignore_value_after_pr()?;
            return match attribute {
                Some(attribute) => self.allowed(attribute).map(Filter::Present),
                None => Ok(Filter::Constant(false)),
            };
        };
        self.expect_blank();
        let Some(literal) = self.value()? else {
            return Err(self.scanner.error("a value was expected"));
        };
        let is_null = matches!(&literal, Literal::Bare(word) if word.eq_ignore_ascii_case("null"));
        let Some(attribute) = attribute else {
            let absent_fits = if is_null {
                operator == Operator::Eq
            } else {
                operator == Operator::Ne
            };
            return Ok(Filter::Constant(absent_fits));
        };
        let attribute = self.allowed(attribute)?;
        if is_null {
            return match operator {
                Operator::Eq => Ok(Filter::Not(Box::new(Filter::Present(attribute)))),
                Operator::Ne => Ok(Filter::Present(attribute)),
                _ => Err(self.scanner.error("null compares with eq and ne only")),
            };
        }
        let attribute = self.comparable(attribute)?;
        coerce::check_operator(attribute.leaf(), operator).map_err(|expected| self.scanner.error(expected))?;
        let (value, deviation) =
            coerce::comparand(attribute.leaf(), literal).map_err(|expected| self.scanner.error(expected))?;
        if let Some(rule) = deviation {
            self.note(rule);
        }
        Ok(Filter::Compare {
            attribute,
            operator,
            value,
        })
    }

    /// The operator; none for `pr`.
    fn operator(&mut self) -> Result<Option<Operator>, Invalid> {
        const OPERATORS: [(&str, Option<Operator>); 10] = [
            ("eq", Some(Operator::Eq)),
            ("ne", Some(Operator::Ne)),
            ("co", Some(Operator::Co)),
            ("sw", Some(Operator::Sw)),
            ("ew", Some(Operator::Ew)),
            ("gt", Some(Operator::Gt)),
            ("ge", Some(Operator::Ge)),
            ("lt", Some(Operator::Lt)),
            ("le", Some(Operator::Le)),
            ("pr", None),
        ];
        let word = self.scanner.peek_word();
        let known = OPERATORS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
        let Some((name, operator)) = known else {
            return Err(self
                .scanner
                .error("eq, ne, co, sw, ew, gt, ge, lt, le or pr was expected"));
        };
        self.scanner.eat_keyword(name);
        Ok(*operator)
    }

    /// A value; `and` and `or` are none.
    fn value(&mut self) -> Result<Option<Literal>, Invalid> {
        let word = self.scanner.peek_word();
        if word.eq_ignore_ascii_case("and") || word.eq_ignore_ascii_case("or") {
            return Ok(None);
        }
        self.scanner.literal()
    }

    fn ignore_value_after_pr(&mut self) -> Result<(), Invalid> {
        self.blanks();
        if self.value()?.is_some() {
            self.note(tolerance::VALUE_AFTER_PR);
        }
        Ok(())
    }

    /// The text of an attribute's path.
    fn path(&mut self) -> Result<&'a str, Invalid> {
        let path = self.scanner.peek_word();
        let starts = path.starts_with(|first: char| first.is_ascii_alphabetic() || first == '$');
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '$' | '.' | ':');
        if !starts || !path.chars().all(plain) {
            return Err(self.scanner.error("the name of an attribute was expected"));
        }
        Ok(self.scanner.word())
    }

    /// Refuses secret attributes, so that a filter cannot probe their values (RFC 7644 §7.5.2).
    fn allowed(&self, attribute: AttributeRef) -> Result<AttributeRef, Invalid> {
        if attribute.attribute.is_secret() || attribute.leaf().is_secret() {
            return Err(self.scanner.error("this attribute cannot be part of a filter"));
        }
        Ok(attribute)
    }

    /// A bare complex attribute compares its `value`.
    fn comparable(&self, attribute: AttributeRef) -> Result<AttributeRef, Invalid> {
        if attribute.leaf().data_type != DataType::Complex {
            return Ok(attribute);
        }
        let Some(value) = attribute.attribute.sub("value") else {
            return Err(self
                .scanner
                .error("this attribute is complex, and one of its sub-attributes must be named"));
        };
        Ok(AttributeRef {
            sub: Some(Arc::clone(value)),
            ..attribute
        })
    }

    fn blanks(&mut self) -> bool {
        let blanks = self.scanner.blanks();
        if blanks.odd {
            self.note(tolerance::BLANKS);
        }
        blanks.any
    }

    fn expect_blank(&mut self) {
        if !self.blanks() {
            self.note(tolerance::BLANKS);
        }
    }

    fn close(&mut self, bracket: char, missing: &str) -> Result<(), Invalid> {
        if self.scanner.eat(bracket) {
            Ok(())
        } else {
            Err(self.scanner.error(missing))
        }
    }

    fn enter(&mut self) -> Result<(), Invalid> {
        self.depth += 1;
        if self.depth > DEEPEST {
            Err(self.scanner.error("the filter nests too deeply"))
        } else {
            Ok(())
        }
    }

    fn node(&mut self) -> Result<(), Invalid> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(Invalid::new(
                InvalidKind::TooMany,
                "the filter has more than 200 terms; split it into several requests",
            ));
        }
        Ok(())
    }

    fn group(&mut self, terms: usize) -> Result<(), Invalid> {
        if terms > 1 { self.node() } else { Ok(()) }
    }

    fn note(&mut self, rule: &'static str) {
        if !self.deviations.contains(&rule) {
            self.deviations.push(rule);
        }
    }
}

fn is_listed_or_complex(found: &AttributeRef) -> bool {
    found.attribute.multi_valued || found.attribute.data_type == DataType::Complex
}

/// Applies the inner filter to the elements of the attribute; an unknown attribute has no element that matches.
fn in_element(attribute: Option<&AttributeRef>, inner: Filter) -> Filter {
    match (attribute, inner) {
        (None, _) | (_, Filter::Constant(false)) => Filter::Constant(false),
        (Some(attribute), inner) => Filter::Element {
            attribute: attribute.clone(),
            filter: Box::new(inner),
        },
    }
}

fn negation(filter: Filter) -> Filter {
    match filter {
        Filter::Constant(answer) => Filter::Constant(!answer),
        Filter::Not(inner) => *inner,
        other => Filter::Not(Box::new(other)),
    }
}

fn conjunction(terms: Vec<Filter>) -> Filter {
    if terms.contains(&Filter::Constant(false)) {
        return Filter::Constant(false);
    }
    let mut flat = Vec::with_capacity(terms.len());
    for term in terms {
        match term {
            Filter::Constant(_) => {}
            Filter::And(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    single_or(flat, true, Filter::And)
}

fn disjunction(terms: Vec<Filter>) -> Filter {
    if terms.contains(&Filter::Constant(true)) {
        return Filter::Constant(true);
    }
    let mut flat = Vec::with_capacity(terms.len());
    for term in terms {
        match term {
            Filter::Constant(_) => {}
            Filter::Or(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    single_or(flat, false, Filter::Or)
}

/// Returns a single term as it is, the neutral constant for no term, and several terms as a group.
fn single_or(mut terms: Vec<Filter>, neutral: bool, group: fn(Vec<Filter>) -> Filter) -> Filter {
    match terms.len() {
        0 => Filter::Constant(neutral),
        1 => terms.remove(0),
        _ => group(terms),
    }
}
