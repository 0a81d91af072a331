//! The bounds that KeyBench states, against values from tables; its counts, as they are kept.

#[path = "../../benches/keybench/statistics.rs"]
#[allow(missing_docs, unreachable_pub)]
mod statistics;

#[path = "../../benches/keybench/tally.rs"]
#[allow(dead_code)] // the benchmark uses the rest
mod tally;

use statistics::{poisson_upper, quantile, wilson};

fn is_near(got: f64, expected: f64) -> bool {
    (got - expected).abs() < 5e-4
}

#[test]
fn poisson_bounds_are_those_of_the_tables() {
    // Half the 90th percentile of chi squared with 2(n + 1) degrees: the classical table.
    for (count, bound) in [(0, 2.9957), (1, 4.7439), (2, 6.2958), (4, 9.1535), (10, 16.9622)] {
        assert!(is_near(poisson_upper(count), bound), "{count}: {}", poisson_upper(count));
    }
    assert!(is_near(poisson_upper(100), 118.0790), "{}", poisson_upper(100));
}

#[test]
fn wilsons_interval_is_the_published_one() {
    // Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29.
    let table = [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ];
    for (hits, of, low, high) in table {
        let (from, to) = wilson(hits, of);
        assert!(is_near(from, low) && is_near(to, high), "{hits}/{of}: {from} {to}");
    }
    assert_eq!(wilson(0, 0), (0.0, 1.0), "nothing tried says nothing");
    assert!(is_near(wilson(400, 400).0, 0.9905) && is_near(wilson(400, 400).1, 1.0));
}

#[test]
fn quantiles_are_values_that_occurred() {
    let sorted = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    assert_eq!(quantile(&sorted, 0.5), Some(5));
    assert_eq!(quantile(&sorted, 0.9), Some(9));
    assert_eq!(quantile(&sorted, 1.0), Some(10));
    assert_eq!(quantile(&[], 0.5), None);
}

#[test]
fn counts_that_are_kept_come_back_or_are_not_believed() {
    let mut tally = tally::Tally::default();
    tally.add("false.B5", 2);
    tally.add("false.B5", 1);
    tally.push("A1.refused".to_owned(), 1);
    tally.push("A1.refused".to_owned(), 0);
    tally.cases.push("seed 1 key 2".to_owned());
    let text = tally.to_text();
    let mut back = tally::Tally::from_text(&text).expect("whole");
    assert_eq!(back, tally);
    assert_eq!((back.count("false.B5"), back.values("A1.refused")), (3, &[1, 0][..]));
    back.merge(tally);
    assert_eq!((back.count("false.B5"), back.values("A1.refused").len()), (6, 4));
    for end in 0..text.len() {
        assert!(tally::Tally::from_text(&text[..end]).is_none(), "cut off at {end}");
    }
}
