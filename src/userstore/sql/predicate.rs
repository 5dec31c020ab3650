//! Translates a SCIM filter into SQL, as far as columns and indexes allow.
//!
//! [`narrow`] returns a predicate that holds for every resource that the filter matches. If it is exact, it holds for
//! no other; if not, the caller applies [`crate::domain::filter::matches`] to the rows. All SQL text comes from this
//! file, and every value is bound.

use diesel::QueryResult;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Text};

use super::indexed::{Searched, WIDTH, capped, folded};
use crate::domain::Kind;
use crate::domain::filter::{Comparand, Filter, Operator};
use crate::domain::name::canonical;
use crate::domain::schema::AttributeRef;
use crate::storage::connection::MultiBackend;
use crate::storage::tables::resources;

/// A condition on one row of `resources`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Predicate {
    Constant(bool),
    All(Vec<Predicate>),
    Any(Vec<Predicate>),
    Not(Box<Predicate>),
    /// A text column satisfies a test.
    Column(&'static str, TextTest),
    /// The `active` column has this value.
    Active(bool),
    /// A time column compares with a time by this operator.
    Time(&'static str, &'static str, i64),
    /// An indexed value at this path satisfies a test.
    Value(String, TextTest),
    /// The group has this member.
    Holds(String),
    /// The user is a member of this group, which is in the same store.
    IsIn(String),
}

/// A test of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TextTest {
    Is(String),
    /// From the first (inclusive) up to the second (exclusive); lets an index find a prefix.
    Between(String, String),
    /// `>`, `>=`, `<` or `<=`.
    Compares(&'static str, String),
    Like(String),
    /// Matches the pattern, or is too long for the index to decide.
    LikeOrLong(String),
}

/// A predicate, and whether it is equivalent to the filter.
pub(super) struct Narrowed {
    pub(super) predicate: Predicate,
    pub(super) exact: bool,
}

impl Narrowed {
    fn exact(predicate: Predicate) -> Self {
        Self { predicate, exact: true }
    }

    /// SQL cannot decide this part, so every row stays in.
    fn open() -> Self {
        Self {
            predicate: Predicate::Constant(true),
            exact: false,
        }
    }
}

/// Returns the predicate that SQL can evaluate for a filter over resources.
pub(super) fn narrow(searched: Searched<'_>, filter: &Filter) -> Narrowed {
    match filter {
        Filter::Constant(value) => Narrowed::exact(Predicate::Constant(*value)),
        Filter::And(parts) => combine(parts.iter().map(|part| narrow(searched, part)), Predicate::All),
        Filter::Or(parts) => combine(parts.iter().map(|part| narrow(searched, part)), Predicate::Any),
        Filter::Not(inner) => negate(narrow(searched, inner)),
        Filter::Present(attribute) => present(searched, attribute),
        Filter::Compare {
            attribute,
            operator: Operator::Ne,
            value,
        } => negate(compare(searched, attribute, Operator::Eq, value)),
        Filter::Compare {
            attribute,
            operator,
            value,
        } => compare(searched, attribute, *operator, value),
        Filter::Element { filter, .. } => element(searched, filter),
    }
}

fn combine(parts: impl Iterator<Item = Narrowed>, join: fn(Vec<Predicate>) -> Predicate) -> Narrowed {
    let mut exact = true;
    let predicates = parts.map(|part| {
        exact &= part.exact;
        part.predicate
    });
    let predicates = predicates.collect();
    Narrowed {
        predicate: join(predicates),
        exact,
    }
}

/// Only an exact part can be negated: the complement of a part that is too wide would be too narrow.
fn negate(inner: Narrowed) -> Narrowed {
    if inner.exact {
        Narrowed::exact(Predicate::Not(Box::new(inner.predicate)))
    } else {
        Narrowed::open()
    }
}

/// One element must satisfy the whole filter. The index holds values, not elements, so several conditions only narrow.
fn element(searched: Searched<'_>, filter: &Filter) -> Narrowed {
    match filter {
        // Even a filter that every element satisfies requires an element, and no index knows whether there is one.
        Filter::Constant(true)
        | Filter::Compare {
            operator: Operator::Ne, ..
        }
        | Filter::Not(_) => Narrowed::open(),
        Filter::And(parts) => {
            let all = combine(parts.iter().map(|part| element(searched, part)), Predicate::All);
            Narrowed { exact: false, ..all }
        }
        Filter::Or(parts) => combine(parts.iter().map(|part| element(searched, part)), Predicate::Any),
        single => narrow(searched, single),
    }
}

fn present(searched: Searched<'_>, attribute: &AttributeRef) -> Narrowed {
    match place(searched, attribute) {
        AttributeColumn::Key | AttributeColumn::Id | AttributeColumn::Time(_) => {
            Narrowed::exact(Predicate::Constant(true))
        }
        AttributeColumn::ExternalId => Narrowed::exact(Predicate::Column("resources.external_id", not_empty())),
        AttributeColumn::Indexed => Narrowed::exact(Predicate::Value(attribute.path(), not_empty())),
        AttributeColumn::Active | AttributeColumn::Members | AttributeColumn::Groups | AttributeColumn::Document => {
            Narrowed::open()
        }
    }
}

/// An empty text compares as a value but is not present.
fn not_empty() -> TextTest {
    TextTest::Compares(" > ", String::new())
}

fn compare(searched: Searched<'_>, attribute: &AttributeRef, operator: Operator, value: &Comparand) -> Narrowed {
    match (place(searched, attribute), value) {
        (AttributeColumn::Active, Comparand::Boolean(active)) if operator == Operator::Eq => Narrowed {
            predicate: Predicate::Active(*active),
            // An absent `active` equals neither value, but the column is false.
            exact: *active,
        },
        (AttributeColumn::Time(column), Comparand::Moment(moment)) => match comparison(operator) {
            Some(sign) => Narrowed::exact(Predicate::Time(column, sign, moment.0)),
            None => Narrowed::open(),
        },
        (AttributeColumn::Members, Comparand::Text(id)) if operator == Operator::Eq => {
            Narrowed::exact(Predicate::Holds(id.clone()))
        }
        (AttributeColumn::Groups, Comparand::Text(id)) if operator == Operator::Eq => {
            Narrowed::exact(Predicate::IsIn(id.clone()))
        }
        (AttributeColumn::Key, Comparand::Text(text)) => text_test(
            operator,
            canonical(text),
            |test| Predicate::Column("resources.key", test),
            false,
        ),
        (AttributeColumn::Id, Comparand::Text(text)) => text_test(
            operator,
            text.clone(),
            |test| Predicate::Column("resources.id", test),
            false,
        ),
        (AttributeColumn::ExternalId, Comparand::Text(text)) => text_test(
            operator,
            text.clone(),
            |test| Predicate::Column("resources.external_id", test),
            true,
        ),
        (AttributeColumn::Indexed, Comparand::Text(text)) => {
            let path = attribute.path();
            text_test(
                operator,
                folded(attribute.leaf(), text),
                |test| Predicate::Value(path, test),
                true,
            )
        }
        _ => Narrowed::open(),
    }
}

/// The column or table in which SQL finds an attribute.
enum AttributeColumn {
    Key,
    Id,
    ExternalId,
    Active,
    Time(&'static str),
    Members,
    Groups,
    Indexed,
    Document,
}

fn place(searched: Searched<'_>, attribute: &AttributeRef) -> AttributeColumn {
    if attribute.extension.is_some() {
        return if searched.is_indexed(attribute) {
            AttributeColumn::Indexed
        } else {
            AttributeColumn::Document
        };
    }
    let sub = attribute.sub.as_ref().map(|sub| sub.name.as_str());
    match (attribute.attribute.name.as_str(), sub) {
        ("id", None) => AttributeColumn::Id,
        ("externalId", None) => AttributeColumn::ExternalId,
        ("meta", Some("created")) => AttributeColumn::Time("resources.created"),
        ("meta", Some("lastModified")) => AttributeColumn::Time("resources.modified"),
        ("active", None) if *searched.kind == Kind::USER => AttributeColumn::Active,
        ("members", Some("value")) if *searched.kind == Kind::GROUP && attribute.leaf().case_exact => {
            AttributeColumn::Members
        }
        ("groups", Some("value")) if *searched.kind == Kind::USER && attribute.leaf().case_exact => {
            AttributeColumn::Groups
        }
        (_, None) if attribute.attribute.is_name && searched.has_names() => AttributeColumn::Key,
        _ if searched.is_indexed(attribute) => AttributeColumn::Indexed,
        _ => AttributeColumn::Document,
    }
}

fn comparison(operator: Operator) -> Option<&'static str> {
    match operator {
        Operator::Eq => Some(" = "),
        Operator::Gt => Some(" > "),
        Operator::Ge => Some(" >= "),
        Operator::Lt => Some(" < "),
        Operator::Le => Some(" <= "),
        _ => None,
    }
}

/// The longest pattern that SQLite accepts, in bytes (`SQLITE_MAX_LIKE_PATTERN_LENGTH`). Folding makes some texts
/// longer.
const LONGEST_PATTERN: usize = 50_000;

/// Returns the test of a text that the index may hold `capped`. Order and prefixes are exact as long as the value is
/// not longer than the index keeps.
fn text_test(
    operator: Operator,
    text: String,
    to: impl FnOnce(TextTest) -> Predicate,
    may_be_capped: bool,
) -> Narrowed {
    let short = text.chars().nth(WIDTH).is_none();
    let (test, exact) = match operator {
        Operator::Eq => (
            TextTest::Is(if may_be_capped {
                capped(&text).into_owned()
            } else {
                text
            }),
            true,
        ),
        Operator::Co | Operator::Ew => match like(operator, &text, may_be_capped) {
            Some(found) => found,
            None => return Narrowed::open(),
        },
        _ if may_be_capped && !short => return Narrowed::open(),
        Operator::Sw if text.is_empty() => return Narrowed::open(),
        Operator::Sw => match after_prefix(&text) {
            Some(end) => (TextTest::Between(text, end), true),
            None => return Narrowed::open(),
        },
        other => match comparison(other) {
            Some(sign) => (TextTest::Compares(sign, text), true),
            None => return Narrowed::open(),
        },
    };
    Narrowed {
        predicate: to(test),
        exact,
    }
}

/// Returns the test for `co` or `ew` and whether it is exact; `None` if its pattern is too long for a database.
fn like(operator: Operator, text: &str, may_be_capped: bool) -> Option<(TextTest, bool)> {
    let end = if operator == Operator::Co { "%" } else { "" };
    let pattern = format!("%{}{end}", escaped(text));
    match (pattern.len() > LONGEST_PATTERN, may_be_capped) {
        (true, _) => None,
        (false, true) => Some((TextTest::LikeOrLong(pattern), false)),
        (false, false) => Some((TextTest::Like(pattern), true)),
    }
}

/// Returns the smallest text that is greater than every text with this prefix, in code point order.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let next = match u32::from(last) + 1 {
            0xD800 => 0xE000,
            code => code,
        };
        if let Some(next) = char::from_u32(next) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

impl QueryFragment<MultiBackend> for Predicate {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        match self {
            Self::Constant(value) => out.push_sql(if *value { "1 = 1" } else { "1 = 0" }),
            Self::All(parts) => balanced(&mut out, parts, " AND ", "1 = 1")?,
            Self::Any(parts) => balanced(&mut out, parts, " OR ", "1 = 0")?,
            Self::Not(inner) => {
                // Two-valued logic: an absent value does not compare, so `not` holds for it.
                out.push_sql("NOT COALESCE(");
                inner.walk_ast(out.reborrow())?;
                out.push_sql(", FALSE)");
            }
            Self::Column(column, test) => push_test(&mut out, column, test)?,
            Self::Active(active) => {
                out.push_sql("resources.active = ");
                out.push_bind_param::<Bool, _>(active)?;
            }
            Self::Time(column, sign, moment) => {
                out.push_sql(column);
                out.push_sql(sign);
                out.push_bind_param::<BigInt, _>(moment)?;
            }
            Self::Value(path, test) => {
                out.push_sql("resources.id IN (SELECT v.resource_id FROM attribute_values v WHERE v.path = ");
                out.push_bind_param::<Text, _>(path)?;
                out.push_sql(" AND ");
                push_test(&mut out, "v.value", test)?;
                out.push_sql(")");
            }
            Self::Holds(member) => {
                out.push_sql("resources.id IN (SELECT m.group_id FROM members m WHERE m.member_id = ");
                out.push_bind_param::<Text, _>(member)?;
                out.push_sql(")");
            }
            Self::IsIn(group) => push_is_in(&mut out, group)?,
        }
        Ok(())
    }
}

/// Selects this group and all groups below it in the same store, as groups cannot hold members of other stores. The
/// first check on a member is whether it has members itself: a user never has any, and an index tells. PostgreSQL
/// cannot estimate how few groups there will be, so the query forces the index.
fn push_is_in<'b>(out: &mut AstPass<'_, 'b, MultiBackend>, group: &'b String) -> QueryResult<()> {
    let (one_of, end, held) = match out.backend() {
        MultiBackend::Postgres(_) => (
            " = ANY (ARRAY (",
            "))",
            "CROSS JOIN LATERAL (SELECT m.member_id FROM members m WHERE m.group_id = below.id OFFSET 0) b",
        ),
        MultiBackend::Sqlite(_) => (" IN (", ")", "JOIN members b ON b.group_id = below.id"),
    };
    out.push_sql("(resources.store = (SELECT g.store FROM resources g WHERE g.id = ");
    out.push_bind_param::<Text, _>(group)?;
    out.push_sql(") AND resources.id IN (SELECT m.member_id FROM members m WHERE m.group_id");
    out.push_sql(one_of);
    out.push_sql("WITH RECURSIVE below (id) AS (SELECT g.id FROM resources g WHERE g.id = ");
    out.push_bind_param::<Text, _>(group)?;
    out.push_sql(" UNION SELECT b.member_id FROM below ");
    out.push_sql(held);
    out.push_sql(
        " WHERE (SELECT c.group_id FROM members c WHERE c.group_id = b.member_id LIMIT 1) IS NOT NULL \
        AND (SELECT g.store FROM resources g WHERE g.id = b.member_id) = \
        (SELECT x.store FROM resources x WHERE x.id = ",
    );
    out.push_bind_param::<Text, _>(group)?;
    out.push_sql(")) SELECT id FROM below");
    out.push_sql(end);
    out.push_sql("))");
    Ok(())
}

/// Joins parts as a balanced tree: SQLite rejects expressions deeper than 1,000, which a flat chain would be.
fn balanced<'b>(
    out: &mut AstPass<'_, 'b, MultiBackend>,
    parts: &'b [Predicate],
    join: &str,
    empty: &str,
) -> QueryResult<()> {
    match parts {
        [] => out.push_sql(empty),
        [single] => single.walk_ast(out.reborrow())?,
        _ => {
            // The number of combinations is unbounded, so do not cache the statement.
            out.unsafe_to_cache_prepared();
            let (left, right) = parts.split_at(parts.len() / 2);
            out.push_sql("(");
            balanced(out, left, join, empty)?;
            out.push_sql(join);
            balanced(out, right, join, empty)?;
            out.push_sql(")");
        }
    }
    Ok(())
}

fn push_test<'b>(out: &mut AstPass<'_, 'b, MultiBackend>, column: &str, test: &'b TextTest) -> QueryResult<()> {
    if let TextTest::LikeOrLong(_) = test {
        out.push_sql("(");
    }
    out.push_sql(column);
    match test {
        TextTest::Is(text) => {
            out.push_sql(" = ");
            out.push_bind_param::<Text, _>(text)
        }
        TextTest::Between(from, to) => {
            out.push_sql(" >= ");
            out.push_bind_param::<Text, _>(from)?;
            out.push_sql(" AND ");
            out.push_sql(column);
            out.push_sql(" < ");
            out.push_bind_param::<Text, _>(to)
        }
        TextTest::Compares(sign, text) => {
            out.push_sql(sign);
            out.push_bind_param::<Text, _>(text)
        }
        TextTest::Like(pattern) => {
            out.push_sql(" LIKE ");
            out.push_bind_param::<Text, _>(pattern)?;
            out.push_sql(" ESCAPE '\\'");
            Ok(())
        }
        TextTest::LikeOrLong(pattern) => {
            out.push_sql(" LIKE ");
            out.push_bind_param::<Text, _>(pattern)?;
            out.push_sql(" ESCAPE '\\' OR length(");
            out.push_sql(column);
            out.push_sql(") > 200)");
            Ok(())
        }
    }
}

impl QueryId for Predicate {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Expression for Predicate {
    type SqlType = Bool;
}

impl ValidGrouping<()> for Predicate {
    type IsAggregate = is_aggregate::No;
}

impl AppearsOnTable<resources::table> for Predicate {}
impl SelectableExpression<resources::table> for Predicate {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_text_in_code_point_order() {
        assert_eq!(after_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(after_prefix("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(after_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{10ffff}"), None);
    }

    #[test]
    fn wildcards_in_a_value_are_plain_characters() {
        assert_eq!(escaped(r"100%_\"), r"100\%\_\\");
    }
}
