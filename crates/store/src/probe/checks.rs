//! The checks, each on keys of its own. What is said in an `Ok` is what was seen where the store does what it should.

use bytes::Bytes;
use futures::future::join_all;
use runtime::Clock;

use super::Scratch;
use crate::StoreError;
use crate::s3::S3Store;

/// Why a check did not find what it asked for.
#[derive(Debug)]
pub(super) enum Lack {
    /// The store did something else.
    Otherwise(String),
    /// This kind of store has no such thing.
    NotAsked(String),
    /// A call failed.
    Store(StoreError),
}

impl From<StoreError> for Lack {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

type Outcome = Result<String, Lack>;

/// Writers of one key at once.
const RACERS: u8 = 4;
const RACE_BYTES: usize = 64 * 1024;
const BODY_BYTES: usize = 100_000;
/// Keys that are put and looked for in listings.
const LISTED: usize = 7;
const LISTED_AT_ONCE: usize = 3;
const DELETED: usize = 40;
/// The smallest that S3 takes for a part other than the last.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// A jump of the clock above this is believed only after a second opinion (rule R22).
const CLOCK_LIMIT_MS: i64 = 60_000;

fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Lack> {
    if holds { Ok(()) } else { Err(Lack::Otherwise(otherwise())) }
}

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8).collect()
}

pub(super) async fn put_if_absent(scratch: &Scratch) -> Outcome {
    let key = scratch.key("if-absent");
    scratch.put(&key, "first").await?;
    match scratch.put(&key, "other").await {
        Err(StoreError::AlreadyExists { .. }) => {}
        Ok(()) => return Err(Lack::Otherwise("a second put replaced the object".to_owned())),
        Err(error) => return Err(error.into()),
    }
    let found = scratch.store.get(&key, 5).await?;
    expect(found == "first", || format!("after a refused put the object holds {found:?}"))?;
    Ok("the second put was refused".to_owned())
}

pub(super) async fn put_race(scratch: &Scratch) -> Outcome {
    let key = scratch.key("race");
    let body = |racer: u8| Bytes::from(vec![racer; RACE_BYTES]);
    let answers = join_all((0..RACERS).map(|racer| scratch.store.put(&key, vec![body(racer)]))).await;
    let winners: Vec<u8> = (0..RACERS).filter(|racer| answers[usize::from(*racer)].is_ok()).collect();
    match winners[..] {
        [winner] => {
            let found = scratch.store.get(&key, RACE_BYTES as u64).await?;
            expect(found == body(winner), || "the object is not that of the put that succeeded".to_owned())?;
            Ok(format!("1 of {RACERS} won"))
        }
        // All of them may meet a busy moment.
        [] => Err(answers.into_iter().find_map(Result::err).map_or_else(|| Lack::Otherwise("nobody answered".to_owned()), Lack::Store)),
        _ => Err(Lack::Otherwise(format!("{} of {RACERS} puts at once succeeded", winners.len()))),
    }
}

pub(super) async fn read_after_write(scratch: &Scratch) -> Outcome {
    let (key, body) = (scratch.key("read"), pattern(BODY_BYTES));
    scratch.put(&key, body.clone()).await?;
    let found = match scratch.store.get(&key, BODY_BYTES as u64).await {
        Err(StoreError::NotFound { .. }) => return Err(Lack::Otherwise("an object that was just put is not found".to_owned())),
        answer => answer?,
    };
    expect(found == body, || "other bytes came back than were put".to_owned())?;
    let length = scratch.store.head(&key).await?.length;
    expect(length == BODY_BYTES as u64, || format!("{BODY_BYTES} bytes were put, its length is given as {length}"))?;
    Ok(format!("{BODY_BYTES} bytes came back"))
}

pub(super) async fn ranges(scratch: &Scratch) -> Outcome {
    let (key, body) = (scratch.key("ranges"), pattern(BODY_BYTES));
    scratch.put(&key, body.clone()).await?;
    let end = BODY_BYTES;
    let asked = [0..1, end - 1..end, 0..end, 1..2, 4096..8192, end / 2..end];
    for range in &asked {
        let found = scratch.store.get_range(&key, range.start as u64..range.end as u64).await?;
        expect(found == body[range.clone()], || format!("other bytes came for the range {range:?}"))?;
    }
    Ok(format!("{} ranges were exact", asked.len()))
}

pub(super) async fn range_beyond_end(scratch: &Scratch) -> Outcome {
    let key = scratch.key("beyond");
    scratch.put(&key, pattern(1000)).await?;
    for range in [999..1001, 1000..1001, 5000..5001] {
        match scratch.store.get_range(&key, range.clone()).await {
            Err(StoreError::Corrupt { .. }) => {}
            Ok(found) => return Err(Lack::Otherwise(format!("of 1000 bytes the range {range:?} came with {} bytes", found.len()))),
            Err(error) => return Err(error.into()),
        }
    }
    Ok("it is refused or shorter".to_owned())
}

pub(super) async fn range_suffix(scratch: &Scratch, s3: Option<&S3Store>) -> Outcome {
    let s3 = of_s3(s3)?;
    let (key, body) = (scratch.key("suffix"), pattern(1000));
    scratch.put(&key, body.clone()).await?;
    let found = s3.last_bytes(&key, 10).await?;
    expect(found == body[990..], || format!("the last 10 bytes were asked for, {} came", found.len()))?;
    Ok("the last 10 bytes came".to_owned())
}

pub(super) async fn list_order(scratch: &Scratch) -> Outcome {
    // '-' and '.' sort before '/', digits and letters after it.
    let names = ["order/a-b", "order/a.b", "order/a/b/c", "order/a/b0", "order/a0", "order/b"];
    for name in names.iter().rev() {
        scratch.put(&scratch.key(name), *name).await?;
    }
    for (prefix, after, expected) in [
        ("order/", None, &names[..]),
        ("order/a", None, &names[..5]),
        ("order/a/", None, &names[2..4]),
        ("order/", Some("order/a.b"), &names[2..]),
        ("order/a", Some("order/a/b"), &names[2..5]),
    ] {
        let found = scratch.list(prefix, after, 100).await?;
        expect(found == expected, || format!("of {names:?} the prefix {prefix:?} after {after:?} gave {found:?}"))?;
    }
    Ok("5 listings were in order".to_owned())
}

pub(super) async fn list_pages(scratch: &Scratch, s3: Option<&S3Store>) -> Outcome {
    let names = put_numbered(scratch, "pages", LISTED).await?;
    let mut found: Vec<String> = Vec::new();
    while found.len() < LISTED {
        let page = scratch.list("pages/", found.last().map(String::as_str), LISTED_AT_ONCE).await?;
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    expect(found == names, || format!("{LISTED} keys were put, pages of {LISTED_AT_ONCE} after the last key gave {}", found.len()))?;
    let Some(s3) = s3 else { return Ok(format!("{LISTED} keys in pages of {LISTED_AT_ONCE}")) };
    let keys = s3.list_by_tokens(&format!("{}pages/", scratch.folder), LISTED_AT_ONCE).await?;
    expect(keys.len() == LISTED, || format!("{LISTED} keys were put, pages by token gave {}", keys.len()))?;
    Ok(format!("{LISTED} keys in pages of {LISTED_AT_ONCE}, also by token"))
}

pub(super) async fn list_after_write(scratch: &Scratch) -> Outcome {
    for number in 0..LISTED {
        let name = format!("written/{number}");
        scratch.put(&scratch.key(&name), "x").await?;
        let found = scratch.list("written/", None, 100).await?;
        expect(found.contains(&name), || format!("key {} of {LISTED} was put and is not listed", number + 1))?;
    }
    Ok(format!("{LISTED} of {LISTED} at once"))
}

pub(super) async fn list_after_delete(scratch: &Scratch) -> Outcome {
    let names = put_numbered(scratch, "deleted", LISTED).await?;
    for (gone, name) in names.iter().enumerate() {
        scratch.delete(&[scratch.key(name)]).await?;
        let found = scratch.list("deleted/", None, 100).await?;
        expect(found == names[gone + 1..], || format!("after {} of {LISTED} deletions {} keys are listed", gone + 1, found.len()))?;
    }
    Ok(format!("{LISTED} of {LISTED} at once"))
}

pub(super) async fn delete_bulk(scratch: &Scratch) -> Outcome {
    let names = put_numbered(scratch, "bulk", DELETED).await?;
    let mut keys: Vec<String> = names.iter().map(|name| scratch.key(name)).collect();
    keys.push(scratch.key("bulk/absent"));
    scratch.delete(&keys).await?;
    for key in [&keys[0], &keys[DELETED - 1]] {
        match scratch.store.head(key).await {
            Err(StoreError::NotFound { .. }) => {}
            Ok(_) => return Err(Lack::Otherwise("an object that was deleted is still there".to_owned())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(format!("{DELETED} keys and one that was not there"))
}

pub(super) async fn multipart(scratch: &Scratch, s3: Option<&S3Store>) -> Outcome {
    let s3 = of_s3(s3)?;
    let key = scratch.key("multipart");
    let parts = [pattern(PART_BYTES), pattern(1000)];
    s3.put_in_parts(&key, &parts).await?;
    let length = (PART_BYTES + 1000) as u64;
    let around = scratch.store.get_range(&key, PART_BYTES as u64 - 10..length).await?;
    let expected = [&parts[0][PART_BYTES - 10..], &parts[1]].concat();
    expect(around == expected, || "other bytes came back than were put in parts".to_owned())?;
    let given_up = scratch.key("given-up");
    s3.give_up_parts(&given_up).await?;
    match scratch.store.head(&given_up).await {
        Err(StoreError::NotFound { .. }) => Ok("2 parts, and an upload given up".to_owned()),
        Ok(_) => Err(Lack::Otherwise("an upload that was given up left an object".to_owned())),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn checksum_verified(scratch: &Scratch, s3: Option<&S3Store>) -> Outcome {
    let s3 = of_s3(s3)?;
    let key = scratch.key("damaged");
    let refusal = s3.put_damaged(&key, pattern(1000)).await?;
    let Some(refusal) = refusal else {
        return Err(Lack::Otherwise("a body with other bytes than were signed was taken".to_owned()));
    };
    match scratch.store.head(&key).await {
        Err(StoreError::NotFound { .. }) => Ok(refusal),
        Ok(_) => Err(Lack::Otherwise(format!("a damaged body was refused ({refusal}) and stored all the same"))),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn checksum_returned(scratch: &Scratch, s3: Option<&S3Store>) -> Outcome {
    let s3 = of_s3(s3)?;
    let key = scratch.key("checksum");
    match s3.put_with_checksum(&key, pattern(1000)).await? {
        Some(checksum) => Ok(format!("SHA-256 {checksum}")),
        None => Err(Lack::Otherwise("no checksum came with the answer".to_owned())),
    }
}

pub(super) async fn clock(scratch: &Scratch, ours: &dyn Clock, is_remote: bool) -> Outcome {
    let Some(theirs) = scratch.store.date().await? else {
        return Err(match is_remote {
            true => Lack::Otherwise("its answers carry no Date".to_owned()),
            false => Lack::NotAsked("it has no clock of its own".to_owned()),
        });
    };
    // A Date has whole seconds.
    let ahead = theirs.0 - ours.wall_ms();
    let told = match (ahead.abs() + 500) / 1000 {
        0 | 1 => "the same within a second".to_owned(),
        seconds if 0 < ahead => format!("the store's is {seconds} s ahead"),
        seconds => format!("the store's is {seconds} s behind"),
    };
    expect(ahead.abs() <= CLOCK_LIMIT_MS, || format!("{told}; set this machine's clock, or the store's"))?;
    Ok(told)
}

fn of_s3(s3: Option<&S3Store>) -> Result<&S3Store, Lack> {
    s3.ok_or_else(|| Lack::NotAsked("not in this kind of store".to_owned()))
}

/// Puts `count` small objects into a folder of their own; their names, in order.
async fn put_numbered(scratch: &Scratch, folder: &str, count: usize) -> Result<Vec<String>, Lack> {
    let names: Vec<String> = (0..count).map(|number| format!("{folder}/{number:03}")).collect();
    for name in &names {
        scratch.put(&scratch.key(name), "x").await?;
    }
    Ok(names)
}
