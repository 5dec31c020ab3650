//! The single SQLite writer: a thread that runs jobs in groups, each group in one durable transaction.
//!
//! With `synchronous = FULL` a commit costs a disk flush; sharing it among the waiting jobs makes durable writes 3 to 6
//! times faster under load and costs a single write nothing. A caller gets its answer only after its group's commit.
//!
//! Most groups succeed, so their jobs run without savepoints, which saves a tenth of the cost. If one fails, the group
//! is rolled back, and the jobs that had run are run again with it, each in a savepoint.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use diesel::result::Error as DieselError;

use super::connection::SqlConnection;
use super::error::StorageError;

/// The most jobs that share one commit.
const GROUP: usize = 128;

/// A job that runs inside the group's transaction. Returns whether it succeeded, and the answer to send once the
/// outcome of the group's commit is known.
type Job = Box<dyn Fn(&mut SqlConnection, RollbackScope) -> (bool, CommitCallback) + Send>;
type CommitCallback = Box<dyn FnOnce(Result<(), String>) + Send>;

/// The scope of the rollback if a job fails.
#[derive(Clone, Copy)]
enum RollbackScope {
    Group,
    Savepoint,
}

/// A handle to the writer thread, which ends when the last handle is dropped.
#[derive(Clone)]
pub(super) struct Writer(Sender<Job>);

impl Writer {
    /// Starts the thread on a connection of its own.
    pub(super) fn start(connection: SqlConnection) -> Self {
        let (jobs, queue) = channel();
        std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || serve(connection, &queue))
            .expect("a thread can be started while the program starts");
        Self(jobs)
    }

    /// Runs `work` in the next group and waits for its commit.
    pub(super) fn run<T, E>(&self, work: impl Fn(&mut SqlConnection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + From<DieselError> + Send + 'static,
    {
        let slot = Arc::new(ResultSlot::new());
        let reply = Arc::new(ResultSender(Arc::clone(&slot)));
        let job: Job = Box::new(move |connection, guard| {
            let run = || match guard {
                RollbackScope::Group => work(connection),
                RollbackScope::Savepoint => connection.savepoint(&work),
            };
            let done = catch_unwind(AssertUnwindSafe(run))
                .unwrap_or_else(|_| Err(StorageError::Unavailable("the statement panicked".into()).into()));
            let (went_well, reply) = (done.is_ok(), Arc::clone(&reply));
            let answer: CommitCallback = Box::new(move |committed| {
                let answer = done.and_then(|value| match committed {
                    Ok(()) => Ok(value),
                    Err(cause) => Err(StorageError::Unavailable(cause.into()).into()),
                });
                reply.give(answer);
            });
            (went_well, answer)
        });
        let gone = || E::from(StorageError::Unavailable("the writer has stopped".into()));
        self.0.send(job).map_err(|_| gone())?;
        slot.wait().ok_or_else(gone)?
    }
}

/// The slot in which a caller waits for its answer. It sleeps at once: the receiver of a channel would spin first,
/// which is wasted here, since the answer takes a disk flush.
struct ResultSlot<T> {
    answer: Mutex<SlotState<T>>,
    told: Condvar,
}

enum SlotState<T> {
    Open,
    Given(T),
    /// The other end was dropped without an answer.
    Lost,
}

impl<T> ResultSlot<T> {
    fn new() -> Self {
        Self {
            answer: Mutex::new(SlotState::Open),
            told: Condvar::new(),
        }
    }

    fn wait(&self) -> Option<T> {
        let open = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = self.told.wait_while(open, |answer| matches!(answer, SlotState::Open));
        let mut settled = settled.unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *settled, SlotState::Lost) {
            SlotState::Given(answer) => Some(answer),
            SlotState::Open | SlotState::Lost => None,
        }
    }

    /// Stores the answer if there is none yet.
    fn fill(&self, answer: SlotState<T>) {
        let mut awaited = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*awaited, SlotState::Open) {
            *awaited = answer;
            drop(awaited);
            self.told.notify_one();
        }
    }
}

/// The other end of a slot. Dropped without an answer, it marks the answer as lost.
struct ResultSender<T>(Arc<ResultSlot<T>>);

impl<T> ResultSender<T> {
    fn give(&self, answer: T) {
        self.0.fill(SlotState::Given(answer));
    }
}

impl<T> Drop for ResultSender<T> {
    fn drop(&mut self) {
        self.0.fill(SlotState::Lost);
    }
}

fn serve(mut connection: SqlConnection, queue: &Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let mut jobs = vec![first];
        let (answers, committed) =
            run_grouped(&mut connection, queue, &mut jobs).unwrap_or_else(|| run_separately(&mut connection, &jobs));
        if let Err(error) = &committed {
            log::error!("a group of {} writes could not be committed: {error}", answers.len());
        }
        for answer in answers {
            answer(committed.as_ref().copied().map_err(ToString::to_string));
        }
    }
}

/// The answers of the jobs that ran, and the result of the commit.
type GroupOutcome = (Vec<CommitCallback>, Result<(), DieselError>);

/// Runs the first job and those waiting behind it. `None` if one failed after others had succeeded, and all were rolled
/// back.
fn run_grouped(connection: &mut SqlConnection, queue: &Receiver<Job>, jobs: &mut Vec<Job>) -> Option<GroupOutcome> {
    let (mut answers, mut failed) = (Vec::new(), false);
    let committed = connection.write_transaction(|connection| {
        while let Some(job) = jobs.get(answers.len()) {
            let (went_well, answer) = job(connection, RollbackScope::Group);
            answers.push(answer);
            if !went_well {
                failed = true;
                return Err(DieselError::RollbackTransaction);
            }
            if jobs.len() < GROUP {
                jobs.extend(queue.try_recv());
            }
        }
        Ok(())
    });
    match (failed, answers.len()) {
        (false, _) => Some((answers, committed)),
        // Only the failed job itself was rolled back.
        (true, 1) => Some((answers, Ok(()))),
        (true, _) => None,
    }
}

/// Runs each job in a savepoint, so that a failing one does not affect the others.
fn run_separately(connection: &mut SqlConnection, jobs: &[Job]) -> GroupOutcome {
    let mut answers = Vec::new();
    let committed = connection.write_transaction(|connection| {
        answers.extend(jobs.iter().map(|job| job(connection, RollbackScope::Savepoint).1));
        Ok(())
    });
    (answers, committed)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use diesel::connection::SimpleConnection;
    use diesel::prelude::*;

    use super::*;

    diesel::table! {
        numbers (number) { number -> BigInt }
    }

    #[test]
    fn a_failed_write_fails_no_other() {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection
            .batch_execute("CREATE TABLE numbers (number BIGINT PRIMARY KEY)")
            .unwrap();
        let writer = Writer::start(SqlConnection::Sqlite(connection));
        let together = Arc::new(Barrier::new(60));
        let threads: Vec<_> = (0..60)
            .map(|number: i64| {
                let (writer, together) = (writer.clone(), Arc::clone(&together));
                std::thread::spawn(move || {
                    together.wait();
                    let done = writer.run(move |connection| {
                        diesel::insert_into(numbers::table)
                            .values(numbers::number.eq(number))
                            .execute(connection)?;
                        match number % 10 {
                            3 => Err(StorageError::Unavailable("told to".into())),
                            7 => panic!("told to"),
                            _ => Ok(()),
                        }
                    });
                    (number, done.is_ok())
                })
            })
            .collect();
        let answers: Vec<(i64, bool)> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let mut written: Vec<i64> = writer
            .run(|connection| Ok::<_, StorageError>(numbers::table.select(numbers::number).load(connection)?))
            .unwrap();
        written.sort_unstable();
        let expected: Vec<i64> = (0..60).filter(|number| !matches!(number % 10, 3 | 7)).collect();
        assert_eq!(written, expected);
        assert!(
            answers.iter().all(|(number, ok)| *ok == expected.contains(number)),
            "{answers:?}"
        );
    }
}
