//! The table: medians and ranges of what was measured, and whether the bounds hold.

use std::fmt::Write;

use super::measure::{FOREIGN_CORES_MAX, Sample};

/// A row: one subject under one load.
struct Row {
    load: String,
    subject: String,
    samples: Vec<Sample>,
}

/// A bound, and what was measured against it.
struct Verdict {
    what: String,
    measured: f64,
    bound: f64,
    /// What is aimed at, where that is more than the bound.
    aim: Option<f64>,
    at_least: bool,
    unit: &'static str,
}

/// All that was measured.
pub(crate) struct Report {
    rows: Vec<Row>,
    verdicts: Vec<Verdict>,
    notes: Vec<String>,
    is_complete: bool,
}

/// The middle of some values; the mean of the two middle ones of an even number.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

impl Report {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), verdicts: Vec::new(), notes: Vec::new(), is_complete: true }
    }

    /// Adds one run of `subject` under `load`.
    pub(crate) fn add(&mut self, load: &str, subject: &str, sample: Sample) {
        eprintln!(
            "load: {load:24} {subject:28} {:7.1} us {:8.0}/s  p50 {:7.0} us  p99 {:8.0} us  {:6.0} ms  \
             foreign {:.2}",
            sample.cpu_us,
            sample.per_second,
            sample.p50_us,
            sample.p99_us,
            sample.elapsed_ms,
            sample.foreign_cores
        );
        let of = |row: &Row| row.load == load && row.subject == subject;
        match self.rows.iter_mut().find(|row| of(row)) {
            Some(row) => row.samples.push(sample),
            None => self.rows.push(Row {
                load: load.to_owned(),
                subject: subject.to_owned(),
                samples: vec![sample],
            }),
        }
    }

    /// The median of `figure` over the runs of `subject` under `load`; `None` if there were none.
    pub(crate) fn median(
        &self,
        load: &str,
        subject: &str,
        figure: impl Fn(&Sample) -> f64,
    ) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.load == load && row.subject == subject)?;
        Some(median(row.samples.iter().map(figure)))
    }

    /// Answers that were not a signature, over all that was measured.
    pub(crate) fn errors(&self) -> u64 {
        self.rows.iter().flat_map(|row| &row.samples).map(|sample| sample.errors).sum()
    }

    /// Holds a figure against an upper bound.
    pub(crate) fn at_most(
        &mut self,
        what: &str,
        measured: f64,
        bound: f64,
        aim: Option<f64>,
        unit: &'static str,
    ) {
        let what = what.to_owned();
        self.verdicts.push(Verdict { what, measured, bound, aim, at_least: false, unit });
    }

    /// Holds a figure against a lower bound.
    pub(crate) fn at_least(&mut self, what: &str, measured: f64, bound: f64, unit: &'static str) {
        let what = what.to_owned();
        self.verdicts.push(Verdict { what, measured, bound, aim: None, at_least: true, unit });
    }

    /// Adds a line below the table.
    pub(crate) fn note(&mut self, note: String) {
        eprintln!("load: {note}");
        self.notes.push(note);
    }

    /// A part of the plan ended early.
    pub(crate) fn failed(&mut self, part: &str, error: &anyhow::Error) {
        self.is_complete = false;
        self.note(format!("NOT MEASURED: {part} ended early: {error:#}"));
    }

    /// Whether every part came to its end.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether every bound holds.
    pub(crate) fn holds(&self) -> bool {
        self.verdicts.iter().all(Verdict::holds)
    }

    /// The whole, as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from(
            "| load | subject | CPU us a request (range) | to nginx | requests/s | p50 us | \
             p99 us (range) | done after ms (range) | errors | runs |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            row.write(&mut text, self.median(&row.load, "nginx", |sample| sample.cpu_us));
        }
        text.push_str(
            "\n| bound | measured | at most / least | aim | holds |\n|---|---|---|---|---|\n",
        );
        for verdict in &self.verdicts {
            verdict.write(&mut text);
        }
        for note in &self.notes {
            text.push_str(&format!("\n- {note}"));
        }
        text.push('\n');
        text
    }
}

impl Row {
    fn write(&self, text: &mut String, nginx: Option<f64>) {
        let Self { load, subject, samples } = self;
        let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
        let range = |figure: fn(&Sample) -> f64| {
            let least = samples.iter().map(figure).fold(f64::INFINITY, f64::min);
            let most = samples.iter().map(figure).fold(0.0, f64::max);
            (least, most)
        };
        let cpu = of(|sample| sample.cpu_us);
        let cpu_range = range(|sample| sample.cpu_us);
        let ratio = nginx.map(|nginx| format!("{:.2}", cpu / nginx)).unwrap_or_default();
        let p99 = range(|sample| sample.p99_us);
        let done = range(|sample| sample.elapsed_ms);
        let errors: u64 = samples.iter().map(|sample| sample.errors).sum();
        let loud = samples.iter().filter(|sample| sample.foreign_cores > FOREIGN_CORES_MAX).count();
        let loud = if loud > 0 { format!(", {loud} disturbed") } else { String::new() };
        let _ = writeln!(
            text,
            "| {load} | {subject} | {cpu:.1} ({:.1}..{:.1}) | {ratio} | {:.0} | {:.0} | \
             {:.0} ({:.0}..{:.0}) | {:.0} ({:.0}..{:.0}) | {errors} | {}{loud} |",
            cpu_range.0,
            cpu_range.1,
            of(|sample| sample.per_second),
            of(|sample| sample.p50_us),
            of(|sample| sample.p99_us),
            p99.0,
            p99.1,
            of(|sample| sample.elapsed_ms),
            done.0,
            done.1,
            samples.len(),
        );
    }
}

impl Verdict {
    fn holds(&self) -> bool {
        if self.at_least { self.measured >= self.bound } else { self.measured <= self.bound }
    }

    fn write(&self, text: &mut String) {
        let Self { what, measured, bound, aim, unit, at_least } = self;
        let sign = if *at_least { ">=" } else { "<=" };
        let holds = match aim {
            _ if !self.holds() => "NO",
            Some(aim) if measured > aim => "yes, not the aim",
            Some(_) | None => "yes",
        };
        let aim = aim.map(|aim| format!("{aim:.2}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "| {what} | {measured:.2}{unit} | {sign} {bound:.2}{unit} | {aim} | {holds} |"
        );
    }
}
