//! Cancel requests: the right backend, and only that.

use crate::program::{BOBS, LONG, Served, Site, code, sees, until};
use crate::wire::{Client, frame};
use std::time::{Duration, Instant};

/// CancelRequest with the body of a BackendKeyData.
fn cancel(served: &Served, key: &[u8]) {
    let mut packet = (8 + u32::try_from(key.len()).unwrap())
        .to_be_bytes()
        .to_vec();
    packet.extend(80_877_102_u32.to_be_bytes());
    packet.extend(key);
    let mut client = Client::open(served.address);
    client.send(&packet);
    // The end says that it has been dealt with.
    let answer = client.answer();
    assert!(answer.closed && answer.rows().is_empty());
}

fn send_long(client: &mut Client) {
    client.send(&frame(b'Q', &[LONG.as_bytes(), b"\0"].concat()));
}

#[test]
fn a_cancel_request_ends_one_query_and_no_other() {
    let site = Site::new("cancel");
    let served = site.serve();
    let (mut bob, bobs_key) = served.connect_cancellable(&site, "bob");
    let (mut anne, annes_key) = served.connect_cancellable(&site, "anne");
    assert_ne!(bobs_key, annes_key);
    send_long(&mut bob);
    send_long(&mut anne);
    until("both run", || site.busy().len() == 2);

    // Bob's process id with Anne's secret, one bit wrong, cut short, and nobody's: nothing.
    let mut wrong = bobs_key.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let crossed = [&bobs_key[..4], &annes_key[4..]].concat();
    let nobodys = [&[0x7f, 1, 2, 3], &bobs_key[4..]].concat();
    for key in [&wrong[..], &crossed, &nobodys, &bobs_key[..4]] {
        cancel(&served, key);
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(site.busy().len(), 2, "a wrong secret did something");

    cancel(&served, &bobs_key);
    let answer = bob.answer();
    assert_eq!(
        (code(&answer).as_str(), answer.status()),
        ("57014", Some(b'I'))
    );
    assert_eq!(site.busy().len(), 1, "Anne's goes on");
    sees(&mut bob, BOBS);

    // In a transaction the query is cancelled and the transaction fails; the session goes on.
    bob.simple("BEGIN");
    send_long(&mut bob);
    until("both run", || site.busy().len() == 2);
    cancel(&served, &bobs_key);
    assert_eq!(code(&bob.answer()), "57014");
    assert_eq!(bob.simple("ROLLBACK").status(), Some(b'I'));

    cancel(&served, &annes_key);
    assert_eq!(code(&anne.answer()), "57014");
    assert!(site.busy().is_empty());
}

#[test]
fn a_cancel_request_that_comes_late_hits_nobody() {
    let site = Site::new("late");
    // One connection for all, so that a stray signal would have somebody to hit.
    site.set("upstream", "pool_size = 1");
    let served = site.serve();
    let (mut bob, key) = served.connect_cancellable(&site, "bob");
    let mut anne = served.connect(&site, "anne");
    sees(&mut bob, BOBS);
    let started = Instant::now();
    std::thread::scope(|scope| {
        let canceller = scope.spawn(|| {
            let mut sent = 0;
            while started.elapsed() < Duration::from_secs(2) {
                cancel(&served, &key);
                sent += 1;
            }
            sent
        });
        let (mut asked, mut cancelled) = (0, 0);
        while started.elapsed() < Duration::from_secs(2) {
            // Anne is never the one who is meant, although she uses Bob's connection between his queries.
            sees(&mut anne, "3900.00");
            match code(&bob.simple("SELECT sum(amount) FROM invoices")).as_str() {
                "" => {}
                "57014" => cancelled += 1,
                other => panic!("{other}"),
            }
            asked += 1;
        }
        let sent = canceller.join().unwrap();
        assert!(
            asked > 10 && sent > 10,
            "{asked} queries, {sent} cancel requests"
        );
        println!("{asked} queries, {sent} cancel requests, {cancelled} cancelled");
    });
    sees(&mut bob, BOBS);
}
