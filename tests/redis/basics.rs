//! What a tier has to do at every place there is: one server, a cluster, a master under Sentinel, Valkey.

use std::time::Duration;

use bytes::Bytes;
use larder::shared::{Acquired, Landed, News, Tier};

use crate::instance::{Instance, MINUTE, name, token, variant};

/// Of names from `first` on.
pub async fn work(instance: &mut Instance, first: u64) {
    values(instance, first).await;
    the_later_of_two(instance, first).await;
    leases(instance, first).await;
}

async fn values(instance: &Instance, first: u64) {
    let tier = &instance.tier;
    for number in first..first + 20 {
        let (base, other) = (name(number), variant(number, 1));
        assert_eq!(tier.get(vec![base, other]).await.unwrap(), [None, None]);
        instance.put(base, format!("base {number}").as_bytes()).await.unwrap();
        instance.put(other, b"\0\r\n$5\xff").await.unwrap();
        let both = tier.get(vec![other, base, variant(number, 2)]).await.unwrap();
        let expected =
            [Some(Bytes::from_static(b"\0\r\n$5\xff")), Some(format!("base {number}").into()), None];
        assert_eq!(both, expected);
        tier.remove(vec![base]).await.unwrap();
        assert_eq!(tier.get(vec![base, other]).await.unwrap()[0], None);
    }
    // Of many resources at once, as none may lie in the slot of another.
    tier.remove((first..first + 20).map(|number| variant(number, 1)).collect()).await.unwrap();
    assert_eq!(instance.get(variant(first, 1)).await.unwrap(), None);

    let frame = |head: &[u8], body: u8| [b"LRDR", &[body; 20][..], head, &[7; 100]].concat();
    instance.put(name(first), &frame(b"old", 1)).await.unwrap();
    let head = |head: &[u8], body| Bytes::copy_from_slice(&frame(head, body)[..40]);
    assert!(tier.patch(name(first), head(b"new", 1), MINUTE).await.unwrap());
    assert_eq!(instance.get(name(first)).await.unwrap().unwrap(), frame(b"new", 1));
    assert!(!tier.patch(name(first), head(b"bad", 2), MINUTE).await.unwrap());
    assert_eq!(instance.get(name(first)).await.unwrap().unwrap(), frame(b"new", 1));
    assert!(!tier.patch(name(first + 1), head(b"new", 1), MINUTE).await.unwrap());
    assert_eq!(instance.get(name(first + 1)).await.unwrap(), None, "a patch makes nothing");
}

async fn the_later_of_two(instance: &Instance, first: u64) {
    let asked_at = |millis: u64| [&[7; 24][..], &millis.to_le_bytes(), &[8; 40]].concat();
    let name = variant(first, 8);
    // By more than a minute it was no clock of ours that said so.
    for (millis, is_kept) in
        [(100_000, true), (99_000, false), (100_000, true), (161_000, true), (100_000, true)]
    {
        assert_eq!(instance.put(name, &asked_at(millis)).await, Ok(is_kept), "{millis}");
    }
    assert_eq!(instance.put(name, b"none of ours").await, Ok(true));
}

async fn leases(instance: &mut Instance, first: u64) {
    let (tier, lease) = (instance.tier.clone(), Duration::from_secs(3));
    let (name, ours, theirs) = (variant(first, 9), token(), token());
    assert_eq!(tier.acquire(name, ours, lease).await.unwrap(), Acquired::Ours);
    let Acquired::Theirs(left) = tier.acquire(name, theirs, lease).await.unwrap() else { panic!() };
    assert!(left <= lease && left > lease / 2, "{left:?}");
    assert!(tier.renew(name, ours, lease).await.unwrap());
    assert!(!tier.renew(name, theirs, lease).await.unwrap());
    tier.release(name, theirs, Landed::Failed).await.unwrap();
    tier.release(name, ours, Landed::Kept).await.unwrap();
    instance.is_heard(News::Landed(name, Landed::Kept)).await;
    assert_eq!(tier.acquire(name, theirs, lease).await.unwrap(), Acquired::Ours);
    tier.release(name, theirs, Landed::Kept).await.unwrap();
}
