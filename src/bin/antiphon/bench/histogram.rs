//! How long single calls took: counts in buckets that are 3 % wide, whatever the time.

/// Buckets in each doubling of the time.
const EACH: u64 = 32;
/// Longer than 2^40 ns, which is 18 minutes, nothing is told apart.
const MOST_DOUBLINGS: u64 = 40;

/// Counts of times in nanoseconds.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn add(&mut self, nanos: u64) {
        let bucket = bucket_of(nanos);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// How many times were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The time within which this share of all was done. `None` where fewer than one in the rest was counted: that
    /// would be the longest one's luck.
    pub fn within(&self, share: f64) -> Option<f64> {
        let rest = 1.0 - share;
        if self.total == 0 || (self.total as f64) * rest < 1.0 {
            return None;
        }
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Some((begin_of(bucket) + begin_of(bucket + 1)) / 2.0);
            }
        }
        None
    }

    /// Each bucket that counted anything: its limits in nanoseconds and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        let counted = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counted.map(|(bucket, count)| (begin_of(bucket), begin_of(bucket + 1), *count))
    }

    /// The share of all in each of `steps` steps of one ratio, from `from` to `to` nanoseconds. What lies outside
    /// counts in the first and the last.
    pub fn shares(&self, from: f64, to: f64, steps: usize) -> Vec<f64> {
        let mut shares = vec![0.0; steps];
        let place = |nanos: f64| (nanos / from).ln() / (to / from).ln() * steps as f64;
        let last = steps as f64 - 1e-9;
        for (begin, end, count) in self.buckets() {
            // A bucket that lies in two steps is shared out between them.
            let (low, high) = (place(begin).clamp(0.0, last), place(end).clamp(0.0, last));
            let share = count as f64 / self.total as f64;
            let width = (high - low).max(1e-12);
            for (step, slot) in shares.iter_mut().enumerate().take(high as usize + 1).skip(low as usize) {
                let part = (high.min(step as f64 + 1.0) - low.max(step as f64)).max(0.0);
                *slot += if high - low < 1e-9 { share } else { share * part / width };
            }
        }
        shares
    }
}

fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.min((1 << MOST_DOUBLINGS) - 1);
    if nanos < 2 * EACH {
        return nanos as usize;
    }
    let doublings = u64::from(nanos.ilog2()) - 5; // Above 32.
    (doublings * EACH + (nanos >> doublings)) as usize
}

/// Where a bucket begins, in nanoseconds.
fn begin_of(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < 2 * EACH {
        return bucket as f64;
    }
    let doublings = bucket / EACH - 1;
    ((bucket - doublings * EACH) << doublings) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_into_a_bucket_that_holds_it() {
        let mut before = 0;
        for nanos in (0..5000).chain((0..30).map(|n| 1 << n)).chain([(1 << 40) - 1]) {
            let bucket = bucket_of(nanos);
            let (begin, end) = (begin_of(bucket), begin_of(bucket + 1));
            assert!(begin <= nanos as f64 && (nanos as f64) < end, "{nanos} is not in {begin}..{end}");
            assert!(end - begin <= (begin / EACH as f64).max(1.0), "{begin}..{end} is wide");
            if nanos < 5000 {
                assert!(bucket == before || bucket == before + 1, "{nanos} leaves a bucket out");
                before = bucket;
            }
        }
    }

    #[test]
    fn shares_of_all_are_found_and_none_that_luck_decides() {
        let mut histogram = Histogram::default();
        for nanos in 1..=1000 {
            histogram.add(nanos);
        }
        let close = |share, expected: f64| {
            let within = histogram.within(share).unwrap();
            assert!((within / expected - 1.0).abs() < 0.04, "{within} instead of {expected}");
        };
        close(0.5, 500.0);
        close(0.99, 990.0);
        assert_eq!(histogram.within(0.9999), None);
        assert_eq!(Histogram::default().within(0.5), None);
    }

    #[test]
    fn the_shares_of_all_steps_are_one() {
        let mut histogram = Histogram::default();
        for nanos in [3, 50, 51, 52, 700, 1_000_000] {
            histogram.add(nanos);
        }
        let shares = histogram.shares(10.0, 100_000.0, 40);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{shares:?}");
        assert!(shares[0] > 0.16 && shares[39] > 0.16, "{shares:?}");
    }
}
