//! The journal tells the changes of a resource in the order in which they happened, also when processes wait for each other.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use libtest_mimic::Trial;
use serde_json::json;
use vestibule::domain::{Kind, StoreName};
use vestibule::scim::RequestOptions;
use vestibule::storage::random;

use crate::fixtures::service::Service;
use crate::fixtures::stores::postgres_url;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = Trial::test("postgres::a_deletion_that_waited_comes_last", || {
        a_deletion_that_waited_comes_last(&postgres_url().ok_or("not configured")?);
        Ok(())
    });
    vec![trial.with_ignored_flag(postgres_url().is_none())]
}

#[derive(QueryableByName)]
struct Record {
    #[diesel(sql_type = Text)]
    action: String,
    #[diesel(sql_type = BigInt)]
    version: i64,
}

#[derive(QueryableByName)]
struct Backend {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

#[derive(QueryableByName)]
struct Waiting {
    #[diesel(sql_type = Bool)]
    waiting: bool,
}

/// A deletion has locked one group, which gives it a transaction number, and waits for another; meanwhile another process
/// changes the user.
fn a_deletion_that_waited_comes_last(url: &str) {
    let name = StoreName::new(random::token());
    let (deleting, changing) = (Service::on_postgres(name.clone()), Service::on_postgres(name));
    // Rows are locked in the order of ids: both groups before the user.
    let groups = ["first", "second"].map(|name| deleting.create(&Kind::GROUP, &json!({"displayName": name})));
    let user = deleting.create(&Kind::USER, &json!({"userName": "goner"}));
    for group in &groups {
        let add = json!([{"op": "add", "path": "members", "value": [{"value": user.id.as_str()}]}]);
        deleting.patch(group, &add, &RequestOptions::default()).unwrap();
    }

    let (mut holder, mut observer) = (
        PgConnection::establish(url).unwrap(),
        PgConnection::establish(url).unwrap(),
    );
    let pid = diesel::sql_query("SELECT pg_backend_pid() AS pid").get_result::<Backend>(&mut holder);
    let pid = pid.unwrap().pid;
    diesel::sql_query("BEGIN").execute(&mut holder).unwrap();
    diesel::sql_query("SELECT pg_backend_pid() AS pid FROM resources WHERE id = $1 FOR UPDATE")
        .bind::<Text, _>(groups[1].id.as_str())
        .get_result::<Backend>(&mut holder)
        .unwrap();
    let deleted = std::thread::scope(|scope| {
        let deletion = scope.spawn(|| {
            deleting
                .scim
                .delete(&deleting.caller, &user, &RequestOptions::default())
        });
        wait_until_blocked_by(&mut observer, pid);
        let title = json!([{"op": "replace", "path": "title", "value": "changed"}]);
        changing.patch(&user, &title, &RequestOptions::default()).unwrap();
        diesel::sql_query("COMMIT").execute(&mut holder).unwrap();
        deletion.join().unwrap()
    });
    assert_eq!(deleted.unwrap().status, 204);
    let told: Vec<Record> =
        diesel::sql_query("SELECT action, version FROM journal WHERE resource_id = $1 ORDER BY tx, seq")
            .bind::<Text, _>(user.id.as_str())
            .load(&mut observer)
            .unwrap();
    let told: Vec<(&str, i64)> = told
        .iter()
        .map(|record| (record.action.as_str(), record.version))
        .collect();
    assert_eq!(told, [("create", 1), ("update", 2), ("delete", 3)]);
}

fn wait_until_blocked_by(observer: &mut PgConnection, pid: i32) {
    let began = Instant::now();
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))) AS waiting";
    while !diesel::sql_query(sql)
        .bind::<Integer, _>(pid)
        .get_result::<Waiting>(observer)
        .unwrap()
        .waiting
    {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody waits");
        std::thread::sleep(Duration::from_millis(10));
    }
}
