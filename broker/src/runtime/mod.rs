//! The runtime: where glommio is named, and nowhere else in this crate (design D14).
//!
//!     start_shard ─ thread ─ pinned executor ─ UringDisk ─ shard's tasks
//!     net         sockets: wait for bytes, send without waiting, wait for room
//!     probe       why io_uring cannot be used here, in words
//!
//! The settings and what each is worth: docs/decisions/0001.

use std::cell::OnceCell;
use std::future::Future;
use std::time::{Duration, Instant};

use glommio::{Latency, LocalExecutorBuilder, Placement, Shares, TaskQueueHandle};

pub mod net;

pub mod pulse;
use pulse::Pulse;

pub mod probe;

mod sys;
pub use storage::notify::Notify;
pub use sys::loan;
pub use sys::{raise_open_files, thread_cpu_time};

/// The disk that shards run on.
pub type ShardDisk = storage::disk::UringDisk;

pub struct ExecutorOptions {
    pub name: String,
    pub cpu: usize,
    pub io_memory: usize,
    pub preempt_timer: Duration,
}

/// A shard's thread.
pub struct ShardThread(std::thread::JoinHandle<Result<(), String>>);

impl ShardThread {
    /// Waits for the thread's end; the reason if it ended by itself.
    pub fn join(self) -> Result<(), String> {
        self.0.join().unwrap_or_else(|_| Err("it panicked".to_owned()))
    }
}

/// Starts a thread with an executor pinned to a core; it runs `main` to its end, woken by `pulse`.
///
/// # Errors
/// If there can be no such thread. What is wrong with its executor is told by [`ShardThread::join`].
pub fn start_shard<F: Future<Output = ()> + 'static>(
    options: ExecutorOptions,
    pulse: Pulse,
    main: impl FnOnce(Pulse) -> F + Send + 'static,
) -> std::io::Result<ShardThread> {
    let ExecutorOptions { name, cpu, io_memory, preempt_timer } = options;
    let builder = std::thread::Builder::new().name(name);
    let thread = builder.spawn(move || {
        pulse.attach();
        let executor = LocalExecutorBuilder::new(Placement::Fixed(cpu))
            .io_memory(io_memory)
            .preempt_timer(preempt_timer)
            .make()
            .map_err(|error| error.to_string())?;
        executor.run(async { main(pulse).await });
        Ok(())
    });
    thread.map(ShardThread)
}

/// Runs a task beside the others of this shard.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}

pub async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}

/// Sleeps until `deadline`; at once if it has passed.
pub async fn sleep_until(deadline: Instant) {
    sleep(deadline.saturating_duration_since(Instant::now())).await;
}

/// Lets other tasks run if this one has had its time.
pub async fn yield_if_needed() {
    glommio::yield_if_needed().await;
}

/// `None` if `work` was not done by then.
pub async fn with_timeout<T>(duration: Duration, work: impl Future<Output = T>) -> Option<T> {
    unless(sleep(duration), work).await
}

/// `None` if `end` was done before `work`.
pub async fn unless<T>(end: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    futures_lite::future::or(async { Some(work.await) }, async {
        end.await;
        None
    })
    .await
}

/// Returns when either of the two is done.
pub async fn either(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    futures_lite::future::or(first, second).await;
}

/// Starts work that runs beside the caller until it is awaited.
pub fn start<T: 'static>(work: impl Future<Output = T> + 'static) -> impl Future<Output = T> {
    glommio::spawn_local(work)
}

thread_local! {
    static BACKGROUND: OnceCell<TaskQueueHandle> = const { OnceCell::new() };
}

/// Runs a task with a smaller share of the core than [`spawn`]'s: work that must not hold up commits.
pub fn spawn_background(task: impl Future<Output = ()> + 'static) {
    let create = || {
        glommio::executor().create_task_queue(
            Shares::Static(BACKGROUND_SHARES),
            Latency::NotImportant,
            "background",
        )
    };
    let queue = BACKGROUND.with(|queue| *queue.get_or_init(create));
    match glommio::spawn_local_into(task, queue) {
        Ok(task) => drop(task.detach()),
        Err(error) => panic!("BUG: the background queue is never removed: {error}"),
    }
}

/// Of 1000 that the default queue has.
const BACKGROUND_SHARES: usize = 200;
