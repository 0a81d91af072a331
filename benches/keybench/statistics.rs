//! Bounds: Wilson's interval of a share, the exact Poisson bound of a rate.

/// z of a two-sided 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's 95 % interval of `hits` among `of`; the whole range where nothing was tried.
pub fn wilson(hits: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let n = of as f64;
    let share = hits as f64 / n;
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let centre = share + Z * Z / (2.0 * n);
    let scale = 1.0 + Z * Z / n;
    (((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0))
}

/// The largest mean of which a Poisson count still shows `count` or fewer with 5 %: the one-sided
/// exact 95 % bound.
pub fn poisson_upper(count: u64) -> f64 {
    let (mut low, mut high) = (count as f64, count as f64 * 2.0 + 20.0);
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if at_most(count, middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// P(X <= count) of a Poisson count of this mean, added up in logarithms.
fn at_most(count: u64, mean: f64) -> f64 {
    let mut term = -mean;
    let mut sum = term.exp();
    for k in 1..=count {
        term += mean.ln() - (k as f64).ln();
        sum += term.exp();
    }
    sum
}

/// The value below which a share `q` of the sorted values lies (nearest rank); `None` of nothing.
pub fn quantile(sorted: &[u64], q: f64) -> Option<u64> {
    let rank = (q * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}
