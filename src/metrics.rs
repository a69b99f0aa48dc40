//! Counts and times, kept where things happen and read by whoever shows them: one relaxed atomic addition each, no
//! lock and no allocation on the way of a query. Labels are words of the program, never a user's or a table's name, so
//! there is no more to keep than there is code.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper ends of the buckets of [`Times`], in microseconds: from a cached rewrite to the longest statement.
const BUCKETS_US: [u64; 19] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often a cache had what was asked for.
#[derive(Debug, Default)]
pub struct Lookups {
    /// It was there.
    pub hits: Count,
    /// It had to be made.
    pub misses: Count,
}

impl Lookups {
    /// One more lookup.
    pub fn add(&self, hit: bool) {
        if hit { &self.hits } else { &self.misses }.add();
    }

    /// Hits and misses.
    pub fn get(&self) -> (u64, u64) {
        (self.hits.get(), self.misses.get())
    }
}

/// Counts by a word of the program; for what is rare, such as refusals: it takes a lock.
#[derive(Debug, Default)]
pub struct Words(Mutex<BTreeMap<&'static str, u64>>);

impl Words {
    /// One more.
    pub fn add(&self, word: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(word).or_default() += 1;
    }

    /// Every word and its count.
    pub fn get(&self) -> BTreeMap<&'static str, u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// How long things took: a histogram of fixed buckets.
#[derive(Debug, Default)]
pub struct Times {
    /// One a bucket, and one for what is longer.
    counts: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Times {
    /// One more.
    pub fn add(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|end| *end < us);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        let counts = self.counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl EncodeMetric for Times {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let ends = BUCKETS_US
            .iter()
            .map(|us| seconds(*us))
            .chain([f64::INFINITY]);
        let counts = self.counts.iter();
        let buckets: Vec<(f64, u64)> = ends
            .zip(counts.map(|count| count.load(Ordering::Relaxed)))
            .collect();
        // Of the same reading as the buckets: a histogram whose parts disagree is no histogram.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = seconds(self.sum_us.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Times {
    const TYPE: MetricType = MetricType::Histogram;
}

/// Exact for all that anybody will wait for: microseconds below 2^53 are 285 years.
fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_holds_it() {
        let times = Times::default();
        for us in [0, 50, 51, 1_000, 60_000_000, 60_000_001, u64::MAX / 4] {
            times.add(Duration::from_micros(us));
        }
        let counts: Vec<u64> = times
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let mut expected = vec![0; 20];
        // 0 and 50; 51; 1,000; 60,000,000; and two that are longer than any.
        (expected[0], expected[1], expected[4]) = (2, 1, 1);
        (expected[18], expected[19]) = (1, 2);
        assert_eq!(counts, expected);
        assert_eq!(times.count(), 7);
        assert!(BUCKETS_US.is_sorted());
    }

    #[test]
    fn words_and_lookups_are_counted_apart() {
        let (words, lookups) = (Words::default(), Lookups::default());
        for word in ["not_a_read", "too_large", "not_a_read"] {
            words.add(word);
        }
        for hit in [true, false, true] {
            lookups.add(hit);
        }
        assert_eq!(
            words.get(),
            BTreeMap::from([("not_a_read", 2), ("too_large", 1)])
        );
        assert_eq!(lookups.get(), (2, 1));
    }
}
