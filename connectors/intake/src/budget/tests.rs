//! The bound holds, nobody waits for ever, and all of it comes back.

use std::{future::Future, pin::pin, task::Poll, time::Duration};

use tokio::time::timeout;

use super::*;

/// Long enough for a loaded machine; a test that passes never waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

async fn room_of(budget: &Arc<Budget>, bytes: usize) -> Room {
    let mut room = budget.room();
    timeout(PATIENCE, room.resize(bytes)).await.unwrap();
    room
}

/// Whether a future is ready when it is polled once.
async fn ready(future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

#[tokio::test]
async fn what_is_dropped_or_shrunk_is_there_again() {
    let budget = Budget::with_largest(100, 40);
    let mut first = room_of(&budget, 40).await;
    let second = room_of(&budget, 20).await;
    let third = room_of(&budget, 40).await;
    assert!(third.has_lane() && !first.has_lane());
    assert_eq!(budget.in_use(), 100);
    assert!(!budget.room().try_resize(1));
    assert!(first.try_resize(10));
    assert_eq!((first.bytes(), budget.in_use()), (10, 70));
    let fourth = room_of(&budget, 25).await;
    assert!(!first.try_resize(20));
    assert_eq!((first.bytes(), budget.in_use()), (10, 95));
    drop((second, third, fourth));
    assert_eq!(budget.in_use(), 10);
    assert!(first.try_resize(1_000));
    assert_eq!(first.bytes(), 40, "nobody gets more than the largest");
    drop(first);
    assert_eq!((budget.in_use(), budget.most_used()), (0, 100));
    assert_eq!(budget.pool.available_permits(), 60);
    assert_eq!(budget.lane.available_permits(), 1);
}

#[tokio::test]
async fn the_greatest_fits_when_the_pool_is_taken_or_there_is_none() {
    for total in [100, 40, 0] {
        let budget = Budget::with_largest(total, 40);
        let taken = room_of(&budget, budget.pool_bytes.min(40)).await;
        drop(room_of(&budget, 40).await);
        drop(taken);
        assert_eq!(budget.in_use(), 0, "{total}");
    }
}

#[tokio::test]
async fn a_wait_that_is_given_up_costs_nothing() {
    let budget = Budget::with_largest(100, 40);
    let (pool, lane) = (room_of(&budget, 40).await, room_of(&budget, 40).await);
    let mut small = room_of(&budget, 20).await;
    assert!(!ready(small.resize(30)).await);
    assert_eq!((small.bytes(), budget.in_use()), (20, 100));
    drop((pool, lane));
    timeout(PATIENCE, small.resize(30)).await.unwrap();
    drop(small);
    assert_eq!(budget.pool.available_permits(), 60);
    assert_eq!(budget.lane.available_permits(), 1);
}

#[tokio::test]
async fn parts_are_given_back_by_themselves() {
    let budget = Budget::with_largest(70, 40);
    let mut whole = room_of(&budget, 30).await;
    let part = whole.split(20);
    assert_eq!((whole.bytes(), part.bytes(), budget.in_use()), (10, 20, 30));
    drop(whole);
    assert_eq!((budget.in_use(), budget.pool.available_permits()), (20, 10));
    drop(part);
    assert_eq!((budget.in_use(), budget.pool.available_permits()), (0, 30));
}

#[tokio::test]
async fn the_lane_goes_with_the_part_that_was_split_off() {
    let budget = Budget::with_largest(50, 40);
    let pool = room_of(&budget, 10).await;
    let mut whole = room_of(&budget, 30).await;
    let part = whole.split(20);
    assert!(part.has_lane() && !whole.has_lane());
    assert_eq!((whole.bytes(), part.bytes(), budget.in_use()), (0, 20, 30));
    drop((part, pool));
    assert!(whole.try_resize(50) && whole.has_lane());
    let part = whole.split(35);
    assert_eq!((whole.bytes(), part.bytes(), budget.in_use()), (5, 35, 40));
    drop((whole, part));
    assert_eq!((budget.in_use(), budget.pool.available_permits()), (0, 10));
}

#[tokio::test]
async fn the_lane_is_left_as_soon_as_the_pool_has_room() {
    let budget = Budget::with_largest(60, 40);
    let pool = room_of(&budget, 20).await;
    let mut lane = room_of(&budget, 40).await;
    assert!(lane.try_resize(20) && lane.has_lane());
    drop(pool);
    assert!(lane.try_resize(15) && !lane.has_lane());
    assert_eq!((budget.in_use(), budget.pool.available_permits()), (15, 5));
}

/// Each of many takes the greatest there is in small pieces and keeps what it has meanwhile: together
/// they want far more than there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn taking_in_pieces_never_stops_and_keeps_the_bound() {
    let budget = Budget::with_largest(1_000, 400);
    let tasks: Vec<_> = (0..100)
        .map(|task| {
            let budget = Arc::clone(&budget);
            tokio::spawn(async move {
                let mut room = budget.room();
                for bytes in (1..=400).step_by(7 + task % 13) {
                    room.resize(bytes).await;
                    tokio::task::yield_now().await;
                }
                room.resize(400).await;
            })
        })
        .collect();
    for task in tasks {
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    assert!(budget.most_used() <= 1_000, "{}", budget.most_used());
    assert!(budget.most_used() > 600, "{}", budget.most_used());
    assert_eq!(budget.in_use(), 0);
    assert_eq!(budget.pool.available_permits(), 600);
}
