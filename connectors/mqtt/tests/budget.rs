//! What all connections together may hold: the bound, and that nobody waits for ever.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::sync::Arc;

use openinfra_intake::Budget;
use openinfra_mqtt::listener::Config;
use support::{Client, Connect, FakeIntake, Server, publish, stays, until};

const TOPIC: &str = "sensors/p/data";
const MIB: usize = 1 << 20;

async fn server(total: usize, largest: usize, config: Config) -> Server {
    let intake = FakeIntake {
        bytes: Budget::with_largest(total, largest),
        ..FakeIntake::default()
    };
    Server::over(config, intake).await
}

async fn client(server: &Server, number: usize) -> Client {
    let connect = Connect::v5(&format!("client-{number}"));
    let mut client = server.client(&connect.bytes()).await;
    assert_eq!(client.packet().await.connack_code(), 0);
    client
}

#[tokio::test]
async fn a_slow_log_stops_the_sockets_before_memory_fills() {
    const CLIENTS: usize = 20;
    const MESSAGES: u16 = 100;
    let total = 4 * MIB;
    let server = server(total, 3 * MIB, Config::default()).await;
    let budget = Arc::clone(&server.intake.bytes);
    server.intake.hold.send_replace(true);
    let mut senders = Vec::new();
    for number in 0..CLIENTS {
        let mut client = client(&server, number).await;
        senders.push(tokio::spawn(async move {
            for id in 1..=MESSAGES {
                let message = publish(true, Some(id), TOPIC, &[b'1'; 50_000]);
                client.send(&message).await;
            }
            client
        }));
    }
    until("the pool is used up and the lane is taken", || {
        budget.in_use() + 100_000 > MIB && !budget.room().try_resize(200_000)
    })
    .await;
    // 100 MB want in; what is in is a few of them, and stays so. The rest is in the buffers of the
    // operating system, or still with the clients.
    stays("less is taken than there is room for", || {
        let seen = server.intake.seen();
        seen.iter().map(|s| s.payload.len()).sum::<usize>() < total
    })
    .await;
    server.intake.hold.send_replace(false);
    for sender in senders {
        let mut client = sender.await.unwrap();
        for id in 1..=MESSAGES {
            assert_eq!(client.packet().await.puback(), (id, 0));
        }
    }
    assert!(budget.most_used() <= total, "{}", budget.most_used());
    until("all given back", || budget.in_use() == 0).await;
}

#[tokio::test]
async fn halves_of_packets_do_not_wait_for_each_other_for_ever() {
    let config = Config {
        packet_timeout_ms: 60_000,
        ..Config::default()
    };
    let server = server(3 * MIB, 2 * MIB + 1_000, config).await;
    let budget = Arc::clone(&server.intake.bytes);
    let message = publish(true, Some(1), TOPIC, &vec![b'1'; MIB - 100]);
    let (first, second) = message.split_at(MIB / 2);
    let mut clients = Vec::new();
    for number in 0..6 {
        clients.push(client(&server, number).await);
    }
    for client in &mut clients {
        client.try_send(first).await;
    }
    until("the pool is used up by halves", || {
        !budget.room().try_resize(MIB)
    })
    .await;
    let finished = clients.into_iter().map(|mut client| {
        let second = second.to_vec();
        tokio::spawn(async move {
            client.send(&second).await;
            client.packet().await.puback()
        })
    });
    for finished in finished.collect::<Vec<_>>() {
        assert_eq!(finished.await.unwrap(), (1, 0));
    }
    until("all given back", || budget.in_use() == 0).await;
}

#[tokio::test]
async fn who_keeps_all_others_waiting_with_half_a_packet_is_dropped() {
    let config = Config {
        packet_timeout_ms: 200,
        ..Config::default()
    };
    // No pool: one connection at a time.
    let server = server(2 * MIB, 2 * MIB, config).await;
    let mut slow = client(&server, 0).await;
    slow.send(&publish(true, Some(1), TOPIC, b"123456789")[..10])
        .await;
    until("half a packet is there", || {
        server.intake.bytes.in_use() > 0
    })
    .await;
    let mut other = client(&server, 1).await;
    other.send(&publish(true, Some(1), TOPIC, b"1")).await;
    assert_eq!(slow.packet().await.disconnect_code(), 0x89);
    assert_eq!(other.packet().await.puback(), (1, 0));
}
