//! A summary with quantiles, which dashboards made for Web3Signer read and the `prometheus` crate
//! lacks: over the last 1,024 observations, so that it needs no clock and one store a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType, Quantile};

use super::families::Family;

const WINDOW: usize = 1_024;
const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// The durations of one thing that happens again and again.
#[derive(Clone)]
pub struct Summary(Arc<Window>);

struct Window {
    count: AtomicU64,
    sum_us: AtomicU64,
    last_us: [AtomicU32; WINDOW],
}

impl Default for Summary {
    fn default() -> Self {
        Self(Arc::new(Window {
            count: AtomicU64::new(0),
            sum_us: AtomicU64::new(0),
            last_us: [const { AtomicU32::new(0) }; WINDOW],
        }))
    }
}

impl Summary {
    /// Adds one duration, to the microsecond; above 71 minutes it counts as that.
    pub fn observe(&self, elapsed: Duration) {
        let us = u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX);
        let index = self.0.count.fetch_add(1, Ordering::Relaxed) as usize % WINDOW;
        self.0.last_us[index].store(us, Ordering::Relaxed);
        self.0.sum_us.fetch_add(u64::from(us), Ordering::Relaxed);
    }

    fn collect(&self) -> proto::Summary {
        let count = self.0.count.load(Ordering::Relaxed);
        let filled = usize::try_from(count).map_or(WINDOW, |count| count.min(WINDOW));
        let mut last: Vec<u32> =
            self.0.last_us[..filled].iter().map(|us| us.load(Ordering::Relaxed)).collect();
        last.sort_unstable();
        let mut summary = proto::Summary::default();
        summary.set_sample_count(count);
        summary.set_sample_sum(self.0.sum_us.load(Ordering::Relaxed) as f64 / 1e6);
        let quantiles = QUANTILES.map(|quantile| {
            let rank = (quantile * filled as f64).ceil() as usize;
            let value =
                last.get(rank.saturating_sub(1)).map_or(f64::NAN, |us| f64::from(*us) / 1e6);
            let mut shown = Quantile::default();
            shown.set_quantile(quantile);
            shown.set_value(value);
            shown
        });
        summary.set_quantile(quantiles.to_vec());
        summary
    }
}

/// The summaries of one family, told apart by the values of its labels.
struct SummaryCollector {
    family: &'static Family,
    desc: Desc,
    children: Vec<(Vec<&'static str>, Summary)>,
}

/// Registers a family of summaries, each with the values of the labels that stand before
/// `quantile` in the table. One summary may show under several families.
pub(super) fn register(
    registry: &Registry,
    family: &'static Family,
    children: &[(&[&'static str], &Summary)],
) {
    let labels = family.labels.iter().filter(|label| **label != "quantile");
    let desc = Desc::new(
        family.name.to_owned(),
        family.help.to_owned(),
        labels.map(|label| (*label).to_owned()).collect(),
        Default::default(),
    )
    .expect("names and labels of the table are valid");
    let children = children.iter().map(|(values, summary)| (values.to_vec(), (*summary).clone()));
    let children = children.collect();
    registry
        .register(Box::new(SummaryCollector { family, desc, children }))
        .expect("each family is registered once");
}

impl Collector for SummaryCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = self.children.iter().map(|(values, summary)| {
            let labels = self.family.labels.iter().zip(values).map(|(name, value)| {
                let mut label = LabelPair::default();
                label.set_name((*name).to_owned());
                label.set_value((*value).to_owned());
                label
            });
            let mut metric = Metric::from_label(labels.collect());
            metric.set_summary(summary.collect());
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.family.name.to_owned());
        family.set_help(self.family.help.to_owned());
        family.set_field_type(MetricType::SUMMARY);
        family.set_metric(metrics.collect());
        vec![family]
    }
}
