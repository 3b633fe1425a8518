//! A consumer's workers against a broker of two shards: order per key, and nothing committed that is not done.

mod raw;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use broker::EmbeddedBroker;
use raw::scratch;
use ringlog_client::{
    Assignor, AutoCommit, AutoOffsetReset, Client, ConsumeError, ConsumedRecord, Consumer, ConsumerBuilder,
    Record, TopicSpec, WorkError,
};
use tokio::sync::Notify;

const PARTITIONS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(20);

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start_with(scratch(), |mut config| {
        config.cpus = vec![0, 1];
        config.groups.session_timeout_min = Duration::from_millis(500);
        config
    })
    .unwrap()
}

async fn connect(broker: &EmbeddedBroker, partitions: u32) -> Client {
    let client = Client::connect(broker.addr().to_string()).await.unwrap();
    client.admin().create_topic(TopicSpec::new("t").partitions(partitions)).await.unwrap();
    client
}

/// Sends the numbers of a range, each with one of `keys` keys; what has a key is in one partition.
async fn produce(client: &Client, numbers: std::ops::Range<u32>, keys: u32) {
    let producer = client.producer().topic("t").build().unwrap();
    let mut tickets = Vec::new();
    for n in numbers {
        let record = Record::to_default().key(format!("k{}", n % keys)).value(n.to_le_bytes().to_vec());
        tickets.push(producer.enqueue(record).await.unwrap());
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
}

fn number(record: &ConsumedRecord) -> u32 {
    u32::from_le_bytes(record.value.as_ref().unwrap()[..].try_into().unwrap())
}

fn consumer(client: &Client) -> ConsumerBuilder {
    client
        .consumer("g")
        .topics(["t"])
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .auto_commit(AutoCommit::Every(Duration::from_millis(20)))
        .max_wait(Duration::from_millis(100))
        .session_timeout(Duration::from_secs(1))
}

/// What the group has committed, by partition.
async fn committed(client: &Client) -> BTreeMap<u32, u64> {
    let offsets = client.admin().group_offsets("g").await.unwrap();
    offsets.into_iter().map(|at| (at.partition.get(), at.offset.get())).collect()
}

async fn committed_records(client: &Client) -> u64 {
    committed(client).await.values().sum()
}

async fn until(what: &str, mut is_there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Up to `max` milliseconds, different ones for different records and not by their order.
async fn pause(n: u32, max: u32) {
    let millis = n.wrapping_mul(0x9e37_79b1) >> 16;
    tokio::time::sleep(Duration::from_millis(u64::from(millis % (max + 1)))).await;
}

/// Records that were done, in order.
#[derive(Clone, Default)]
struct Done(Arc<Mutex<Vec<ConsumedRecord>>>);

impl Done {
    fn push(&self, record: ConsumedRecord) {
        self.0.lock().unwrap().push(record);
    }

    fn numbers(&self) -> Vec<u32> {
        self.0.lock().unwrap().iter().map(number).collect()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn distinct(&self) -> BTreeSet<u32> {
        self.numbers().into_iter().collect()
    }

    async fn reach(&self, count: usize) {
        until("the work", || self.len() >= count).await;
    }

    /// Nothing below what is committed is missing.
    fn covers(&self, committed: &BTreeMap<u32, u64>) {
        let done = self.0.lock().unwrap();
        for (partition, next) in committed {
            let of_it = done.iter().filter(|record| record.partition.get() == *partition);
            let offsets: BTreeSet<u64> = of_it.map(|record| record.offset.get()).collect();
            let missing: Vec<u64> = (0..*next).filter(|offset| !offsets.contains(offset)).collect();
            assert!(missing.is_empty(), "{partition}: {next} is committed, {missing:?} are not done");
        }
    }
}

/// Works off everything with plain calls, and adds it to what is done.
async fn read_rest(consumer: &mut Consumer, done: &Done, all: usize) {
    let reading = async {
        while done.distinct().len() < all {
            consumer.recv_batch(100).await.unwrap().into_iter().for_each(|record| done.push(record));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("records are missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_a_key_are_worked_on_one_after_another_and_others_meanwhile() {
    const RECORDS: u32 = 2000;
    const KEYS: u32 = 40;
    let broker = broker();
    let client = connect(&broker, PARTITIONS).await;
    produce(&client, 0..RECORDS, KEYS).await;
    let done = Done::default();
    let busy: Arc<Vec<AtomicBool>> = Arc::new((0..KEYS).map(|_| AtomicBool::new(false)).collect());
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut consumer = consumer(&client).build().await.unwrap();
    let handler = {
        let (done, most) = (done.clone(), Arc::clone(&most));
        move |record: ConsumedRecord| {
            let (done, busy) = (done.clone(), Arc::clone(&busy));
            let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
            async move {
                let n = number(&record);
                assert!(!busy[(n % KEYS) as usize].swap(true, Ordering::SeqCst), "a key twice at once");
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                pause(n, 4).await;
                at_once.fetch_sub(1, Ordering::SeqCst);
                busy[(n % KEYS) as usize].store(false, Ordering::SeqCst);
                done.push(record);
                Ok::<(), String>(())
            }
        }
    };
    let run = consumer.workers(8).stop_when(done.reach(RECORDS as usize)).run(handler);
    tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
    let mut last: BTreeMap<u32, u32> = BTreeMap::new();
    for n in done.numbers() {
        let before = last.insert(n % KEYS, n);
        assert!(before.is_none_or(|before| before + KEYS == n), "{n} comes after {before:?}");
    }
    assert_eq!(done.numbers().len(), RECORDS as usize);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=8).contains(&most), "{most} at once");
    assert_eq!(committed_records(&client).await, u64::from(RECORDS));
    consumer.close(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_in_the_middle_loses_nothing() {
    const RECORDS: u32 = 2000;
    let broker = broker();
    let client = connect(&broker, PARTITIONS).await;
    produce(&client, 0..RECORDS, 100).await;
    let done = Done::default();
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    {
        let (done, address) = (done.clone(), broker.addr().to_string());
        process.spawn(async move {
            let client = Client::connect(address).await.unwrap();
            let mut consumer = consumer(&client).build().await.unwrap();
            let handler = move |record: ConsumedRecord| {
                let done = done.clone();
                async move {
                    if number(&record) == 77 {
                        std::future::pending::<()>().await;
                    }
                    pause(number(&record), 4).await;
                    done.push(record);
                    Ok::<(), String>(())
                }
            };
            consumer.workers(8).in_flight(400).run(handler).await
        });
    }
    done.reach(600).await;
    process.shutdown_background();
    let before = done.len();
    let at = committed(&client).await;
    done.covers(&at);
    let total: u64 = at.values().sum();
    assert!(0 < total && total < before as u64, "{total} of {before}: 77 holds something back");
    let mut second = consumer(&client).build().await.unwrap();
    read_rest(&mut second, &done, RECORDS as usize).await;
    assert!(RECORDS < u32::try_from(done.len()).unwrap(), "what was done behind a gap comes again");
    second.close(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebalance_waits_for_what_is_begun_and_repeats_nothing() {
    const RECORDS: u32 = 1500;
    for assignor in [Assignor::CooperativeSticky, Assignor::Range] {
        let broker = broker();
        let client = connect(&broker, PARTITIONS).await;
        produce(&client, 0..RECORDS, 200).await;
        let (done, stop) = (Done::default(), Arc::new(Notify::new()));
        let mut members = Vec::new();
        let by_second = Arc::new(AtomicUsize::new(0));
        for member in 0..2 {
            let mut consumer = consumer(&client).assignors([assignor]).build().await.unwrap();
            let (all, stop, by_second) = (done.clone(), Arc::clone(&stop), Arc::clone(&by_second));
            let handler = move |record: ConsumedRecord| {
                let done = all.clone();
                by_second.fetch_add(member, Ordering::SeqCst);
                async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    done.push(record);
                    Ok::<(), String>(())
                }
            };
            members.push(tokio::spawn(async move {
                consumer.workers(8).in_flight(100).stop_when(stop.notified()).run(handler).await.unwrap();
                consumer.close(PATIENCE).await.unwrap();
            }));
            done.reach(200).await;
        }
        until("the work", || done.distinct().len() == RECORDS as usize).await;
        stop.notify_waiters();
        for member in members {
            tokio::time::timeout(PATIENCE, member).await.unwrap().unwrap();
        }
        assert!(0 < by_second.load(Ordering::SeqCst), "{assignor:?}: the second one got nothing");
        assert_eq!(done.len(), RECORDS as usize, "{assignor:?}: records came twice");
        assert_eq!(committed_records(&client).await, u64::from(RECORDS));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_record_holds_back_commits_and_at_the_bound_everything() {
    const RECORDS: u32 = 400;
    const SLOW: u32 = 3;
    let broker = broker();
    let client = connect(&broker, 1).await;
    produce(&client, 0..RECORDS, RECORDS).await;
    let mut stalled_at = Vec::new();
    for in_flight in [10, 1000] {
        let (done, gate) = (Done::default(), Arc::new(Notify::new()));
        let mut consumer = client
            .consumer(format!("g{in_flight}"))
            .topics(["t"])
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .auto_commit(AutoCommit::Every(Duration::from_millis(20)))
            .build()
            .await
            .unwrap();
        let handler = {
            let (done, gate) = (done.clone(), Arc::clone(&gate));
            move |record: ConsumedRecord| {
                let (done, gate) = (done.clone(), Arc::clone(&gate));
                async move {
                    if number(&record) == SLOW {
                        gate.notified().await;
                    }
                    done.push(record);
                    Ok::<(), String>(())
                }
            }
        };
        let stop = done.clone();
        let run = tokio::spawn(async move {
            let stop = stop.reach(RECORDS as usize);
            consumer.workers(4).in_flight(in_flight).stop_when(stop).run(handler).await.unwrap();
            consumer.close(PATIENCE).await.unwrap();
        });
        let mut before = 0;
        while before == 0 || before < done.len() {
            before = done.len();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        stalled_at.push(before);
        let at = client.admin().group_offsets(&format!("g{in_flight}")).await.unwrap();
        assert_eq!(at[0].offset.get(), u64::from(SLOW), "what is behind the gap is not committed");
        gate.notify_one();
        tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
        let at = client.admin().group_offsets(&format!("g{in_flight}")).await.unwrap();
        assert_eq!(at[0].offset.get(), u64::from(RECORDS));
    }
    let [bounded, free] = stalled_at[..] else { panic!() };
    assert!(SLOW < u32::try_from(bounded).unwrap() && bounded < 150, "10 may wait behind it: {bounded}");
    assert!((200..400).contains(&free), "the other workers' keys go on: {free}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_a_panic_and_a_dropped_run_leave_what_is_not_done() {
    const RECORDS: u32 = 400;
    let broker = broker();
    let client = connect(&broker, PARTITIONS).await;
    produce(&client, 0..200, RECORDS).await;
    let done = Done::default();
    let mut consumer = consumer(&client).build().await.unwrap();
    let handler = |fails: Option<u32>, panics: Option<u32>| {
        let done = done.clone();
        move |record: ConsumedRecord| {
            let done = done.clone();
            async move {
                let n = Some(number(&record));
                pause(number(&record), 3).await;
                assert!(n != panics, "no {n:?}");
                if n == fails {
                    return Err(format!("not {n:?}"));
                }
                done.push(record);
                Ok(())
            }
        }
    };
    let run = tokio::time::timeout(PATIENCE, consumer.workers(4).run(handler(Some(50), None)));
    let error = run.await.unwrap().unwrap_err();
    assert!(matches!(&error, WorkError::Handler { cause, .. } if cause == "not Some(50)"), "{error}");
    let at = committed(&client).await;
    done.covers(&at);
    assert!(0 < at.values().sum::<u64>(), "the prefix is committed: {at:?}");

    produce(&client, 200..RECORDS, RECORDS).await;
    let run = tokio::time::timeout(PATIENCE, consumer.workers(4).run(handler(None, Some(220))));
    let error = run.await.unwrap().unwrap_err();
    assert!(matches!(&error, WorkError::Panicked { message, .. } if message == "no Some(220)"), "{error}");
    done.covers(&committed(&client).await);

    produce(&client, RECORDS..RECORDS + 100, 1000).await;
    let before = done.len();
    let workers = consumer.workers(4);
    let run = workers.run(handler(None, None));
    tokio::select! {
        ended = run => panic!("{ended:?}"),
        () = done.reach(before + 20) => {}
    }
    read_rest(&mut consumer, &done, RECORDS as usize + 100).await;
    consumer.close(PATIENCE).await.unwrap();
    assert_eq!(committed_records(&client).await, u64::from(RECORDS) + 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_hangs_makes_the_member_leave_and_one_that_is_slow_does_not() {
    let broker = broker();
    let client = connect(&broker, 1).await;
    produce(&client, 0..12, 12).await;
    let short = || consumer(&client).max_poll_interval(Duration::from_millis(800));
    let done = Done::default();
    let slow = {
        let done = done.clone();
        move |record: ConsumedRecord| {
            let done = done.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                done.push(record);
                Ok::<(), String>(())
            }
        }
    };
    let mut first = short().build().await.unwrap();
    // Each takes less than the interval, all of them four times as long.
    let run = first.workers(1).in_flight(1).stop_when(done.reach(11)).run(slow);
    tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
    assert_eq!(committed_records(&client).await, u64::try_from(done.len()).unwrap());

    produce(&client, 12..13, 13).await;
    let hangs = |_| std::future::pending::<Result<(), String>>();
    let begun = Instant::now();
    let error = tokio::time::timeout(PATIENCE, first.workers(3).run(hangs)).await.unwrap().unwrap_err();
    assert!(matches!(error, WorkError::Consume(ConsumeError::LeftGroup { .. })), "{error}");
    assert!(Duration::from_millis(800) <= begun.elapsed());
    assert!(first.assignment().is_empty());
    let mut second = short().build().await.unwrap();
    read_rest(&mut second, &done, 13).await;
    second.close(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_leaves_no_gap_and_says_so_if_that_takes_too_long() {
    let broker = broker();
    let client = connect(&broker, PARTITIONS).await;
    produce(&client, 0..100, 100).await;
    let (done, begun) = (Done::default(), Arc::new(AtomicUsize::new(0)));
    let handler = |millis| {
        let (done, begun) = (done.clone(), Arc::clone(&begun));
        move |record: ConsumedRecord| {
            let done = done.clone();
            begun.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                done.push(record);
                Ok::<(), String>(())
            }
        }
    };
    let mut consumer = consumer(&client).build().await.unwrap();
    let begins = |count| {
        let begun = Arc::clone(&begun);
        until("the work", move || begun.load(Ordering::SeqCst) >= count)
    };
    consumer.workers(4).stop_when(begins(30)).run(handler(20)).await.unwrap();
    let first = done.len();
    assert!((30..100).contains(&first), "{first} are done, the rest is left");
    assert_eq!(begun.load(Ordering::SeqCst), first, "all that is begun is done");
    assert_eq!(committed_records(&client).await, first as u64, "and nothing behind a gap");
    let workers = consumer.workers(4).drain_timeout(Duration::from_millis(100));
    let error = workers.stop_when(begins(first + 4)).run(handler(60_000)).await.unwrap_err();
    assert!(matches!(error, WorkError::DrainTimedOut(_)), "{error}");
    read_rest(&mut consumer, &done, 100).await;
    assert_eq!(done.len(), 100, "what was left came once");
    consumer.close(PATIENCE).await.unwrap();
}
