//! How fast a store is, as one machine sees it: small requests one after the other, large ones a few at a time.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use runtime::Clock;

use super::Scratch;
use crate::StoreError;

const SMALL_BYTES: usize = 4 * 1024;
/// One after the other.
const SMALL_REQUESTS: usize = 32;
const LARGE_BYTES: usize = 8 * 1024 * 1024;
const LARGE_REQUESTS: usize = 16;
/// Large requests at a time; a broker has as many uploads under way.
const PARALLEL: usize = 4;

/// What several requests of one kind took.
#[derive(Clone, PartialEq, Debug)]
pub struct Measurement {
    /// Which requests.
    pub what: &'static str,
    /// How many.
    pub requests: usize,
    /// How many at a time.
    pub parallel: usize,
    /// Half of them took at most this long.
    pub p50: Duration,
    /// Of a hundred, 99 took at most this long; of few, all.
    pub p99: Duration,
    /// Bodies moved, by the time that it took for all; 0 where there are none.
    pub bytes_per_second: f64,
}

pub(super) async fn measure(scratch: &Scratch, clock: &dyn Clock) -> Result<Vec<Measurement>, StoreError> {
    let store = scratch.store.as_ref();
    let small = noise(scratch, SMALL_BYTES);
    let small_keys: Vec<String> = (0..SMALL_REQUESTS).map(|number| scratch.key(format!("small/{number:02}"))).collect();
    let large = noise(scratch, LARGE_BYTES);
    let large_keys: Vec<String> = (0..LARGE_REQUESTS).map(|number| scratch.key(format!("large/{number:02}"))).collect();
    let folder = &format!("{}small/", scratch.folder);
    let one = Timed { clock, parallel: 1 };
    let some = Timed { clock, parallel: PARALLEL };
    Ok(vec![
        one.run("put 4 KiB", SMALL_BYTES, &small_keys, async |key| store.put(key, vec![small.clone()]).await).await?,
        one.run("get 4 KiB", SMALL_BYTES, &small_keys, async |key| store.get(key, SMALL_BYTES as u64).await.map(drop)).await?,
        one.run("list 32 keys", 0, &small_keys, async |_| store.list(folder, None, 1000).await.map(drop)).await?,
        one.run("delete 1 key", 0, &small_keys, async |key| scratch.delete(std::slice::from_ref(key)).await).await?,
        some.run("put 8 MiB", LARGE_BYTES, &large_keys, async |key| store.put(key, vec![large.clone()]).await).await?,
        some.run("get 8 MiB", LARGE_BYTES, &large_keys, async |key| store.get_range(key, 0..LARGE_BYTES as u64).await.map(drop)).await?,
    ])
}

struct Timed<'a> {
    clock: &'a dyn Clock,
    parallel: usize,
}

impl Timed<'_> {
    async fn run(
        &self,
        what: &'static str,
        bytes: usize,
        keys: &[String],
        call: impl AsyncFn(&String) -> Result<(), StoreError>,
    ) -> Result<Measurement, StoreError> {
        let began = self.clock.monotonic();
        let call = &call;
        let timed = |key| async move {
            let asked = self.clock.monotonic();
            call(key).await?;
            Ok::<_, StoreError>(self.clock.monotonic().saturating_sub(asked))
        };
        let mut took: Vec<Duration> = stream::iter(keys).map(timed).buffer_unordered(self.parallel).try_collect().await?;
        let all = self.clock.monotonic().saturating_sub(began).max(Duration::from_nanos(1));
        took.sort_unstable();
        Ok(Measurement {
            what,
            requests: keys.len(),
            parallel: self.parallel,
            p50: took[(took.len() - 1) / 2],
            p99: took[(took.len() * 99).div_ceil(100) - 1],
            bytes_per_second: (bytes * keys.len()) as f64 / all.as_secs_f64(),
        })
    }
}

/// Bytes that no store compresses or has seen before.
fn noise(scratch: &Scratch, length: usize) -> Bytes {
    (0..length / 8).flat_map(|_| scratch.random.u64().to_le_bytes()).collect()
}
