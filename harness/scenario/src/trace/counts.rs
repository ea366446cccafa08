//! Counts a minute: the Azure Functions trace of 2019.

use super::TraceError;
use super::table::Table;
use crate::load::{States, Stream, stream};
use crate::scenario::{Process, Trace};

const COLUMNS: [&str; 3] = ["HashApp", "HashFunction", "1"];
const HEADER: &str = "HashOwner,HashApp,HashFunction,Trigger,1,2,…,1440";
const MINUTE_NS: u64 = 60_000_000_000;

/// The most minutes of a file: a hundred days.
const MAX_MINUTES: usize = 144_000;

/// What a request can be numbered with.
const MAX_REQUESTS: u64 = u32::MAX as u64;

/// Arrivals in each minute from the start of the trace, all rows that were asked for together.
pub(super) struct Minutes(Vec<u64>);

pub(super) fn read(trace: &Trace) -> Result<Minutes, TraceError> {
    let mut table = Table::open(&trace.file)?;
    let [app, function, first] = table.columns(COLUMNS, HEADER)?;
    let names = table.cells().skip(first).zip(1u32..);
    let minutes = names.take_while(|(name, minute)| *name == minute.to_string().as_bytes()).count();
    let columns = table.cells().count();
    if first + minutes < columns || minutes > MAX_MINUTES {
        let column = first + minutes + 1;
        return Err(table.fault_here(
            format!("column {column} should be the counts of minute {}", minutes + 1),
            format!("the first line must name the columns: {HEADER}"),
        ));
    }
    let mut counts = vec![0u64; minutes];
    let mut total = 0u64;
    let mut data = false;
    while table.next_line()? {
        data = true;
        let wanted = [(app, trace.app.as_deref()), (function, trace.func.as_deref())];
        let mut passes = true;
        for (column, name) in wanted {
            passes &= name.is_none_or(|name| table.cell(column).is_ok_and(|cell| cell == name.as_bytes()));
        }
        for (minute, count) in counts.iter_mut().enumerate() {
            let read = table.whole(first + minute, "the count", MAX_REQUESTS)?;
            if passes {
                *count += read;
                total += read;
            }
        }
        if total > MAX_REQUESTS {
            return Err(table.fault_here(
                "the rows up to here have more than 4 294 967 295 arrivals",
                "choose an app or a func, or cut the file",
            ));
        }
    }
    if !data {
        return Err(table.fault(1, "the trace has no rows", "give a file with at least one arrival"));
    }
    Ok(Minutes(counts))
}

impl Minutes {
    /// When the last minute ends.
    pub(super) fn end_ns(&self) -> u64 {
        self.0.len() as u64 * MINUTE_NS
    }

    /// The arrivals of the minutes that overlap a slice.
    pub(super) fn count(&self, from_ns: u64, to_ns: u64) -> u64 {
        let overlaps = |minute: u64| {
            let start_ns = minute * MINUTE_NS;
            start_ns < to_ns && from_ns < start_ns + MINUTE_NS
        };
        self.0.iter().zip(0u64..).filter(|(_, minute)| overlaps(*minute)).map(|(count, _)| count).sum()
    }

    /// Arrivals spread within their minutes, in order of time.
    ///
    /// The counts are kept. Given its count, a Poisson process is that many independent uniform instants, and a
    /// Markov-modulated one that many independent instants with the density of its rate.
    pub(super) fn spread(self, process: Process, seed: u64, name: &str) -> Spread {
        let states = match process {
            Process::Constant | Process::Poisson => None,
            Process::Bursty(burst) => {
                Some(States::new(burst, stream(seed, &format!("{name}/minutes/bursts"))))
            }
        };
        Spread {
            minutes: self.0.into_iter(),
            start_ns: 0,
            count: 0,
            left: 0,
            even: process == Process::Constant,
            placed: 0.0,
            states,
            warp: Vec::new(),
            segment: 0,
            random: stream(seed, &format!("{name}/minutes")),
        }
    }
}

/// Arrivals of minute after minute.
pub(super) struct Spread {
    minutes: std::vec::IntoIter<u64>,
    /// When the minute after the current one begins.
    start_ns: u64,
    count: u64,
    left: u64,
    even: bool,
    /// The last of the sorted uniform numbers of the minute.
    placed: f64,
    states: Option<States>,
    /// Stays of a bursty process within the minute: until when, and the share of arrivals up to there.
    warp: Vec<(u64, f64)>,
    segment: usize,
    random: Stream,
}

impl Spread {
    /// The next of `count` sorted uniform numbers, one at a time: the least of `k` numbers above `x` lies
    /// `1 - (1 - x)·U^(1/k)` up.
    fn next_uniform(&mut self) -> f64 {
        let last = self.left + 1;
        let power = libm::exp(libm::log(1.0 - self.random.unit()) / last as f64);
        self.placed = 1.0 - (1.0 - self.placed) * power;
        self.placed
    }

    fn next_minute(&mut self) -> Option<()> {
        self.count = self.minutes.next()?;
        self.left = self.count;
        self.placed = 0.0;
        let (from_ns, to_ns) = (self.start_ns, self.start_ns + MINUTE_NS);
        self.start_ns = to_ns;
        self.warp.clear();
        self.segment = 0;
        if let Some(states) = &mut self.states {
            if self.count == 0 {
                states.skip_to(to_ns);
            } else {
                self.warp = warp(states, from_ns, to_ns);
            }
        }
        Some(())
    }

    /// Where in the minute a share of its arrivals has come, in nanoseconds.
    fn place(&mut self, share: f64) -> u64 {
        let ns = if self.warp.is_empty() {
            share * MINUTE_NS as f64
        } else {
            while self.segment + 1 < self.warp.len() && self.warp[self.segment].1 <= share {
                self.segment += 1;
            }
            let (until, below) = self.warp[self.segment];
            let (since, above) = if self.segment == 0 { (0, 0.0) } else { self.warp[self.segment - 1] };
            let width = (below - above).max(f64::MIN_POSITIVE);
            since as f64 + (until - since) as f64 * ((share - above) / width).clamp(0.0, 1.0)
        };
        (ns as u64).min(MINUTE_NS - 1)
    }
}

/// The stays within a minute; none when there is no rate at all in it, so that its arrivals are spread evenly.
fn warp(states: &mut States, from_ns: u64, to_ns: u64) -> Vec<(u64, f64)> {
    let mut stays = Vec::new();
    let (mut since_ns, mut sum) = (from_ns, 0.0);
    while since_ns < to_ns {
        let until_ns = states.switch_ns().clamp(since_ns, to_ns);
        sum += states.factor() * (until_ns - since_ns) as f64;
        stays.push((until_ns - from_ns, sum));
        since_ns = until_ns;
        if since_ns < to_ns {
            states.switch();
        }
    }
    if sum <= 0.0 {
        return Vec::new();
    }
    for (_, share) in &mut stays {
        *share /= sum;
    }
    stays
}

impl Iterator for Spread {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while self.left == 0 {
            self.next_minute()?;
        }
        self.left -= 1;
        let share = if self.even {
            (self.count - self.left - 1) as f64 / self.count as f64
        } else {
            self.next_uniform()
        };
        Some(self.start_ns - MINUTE_NS + self.place(share))
    }
}
