//! Drift statistics against SciPy 1.17.1 (`ks_2samp`, `cramervonmises_2samp`, `anderson_ksamp`, `chi2_contingency`,
//! `wasserstein_distance`, `jensenshannon`).

use rand::SeedableRng;
use rand::rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use windtunnel_kernel::drift::{self, Alarm, Detector, DriftError, Outcome, Reference, Test};

/// (rows of the reference, rows of the window, shift, rounded down to tenths), then (statistic, p-value) of ks,
/// cramer_von_mises, anderson_darling and chi_square, then wasserstein, psi and jensen_shannon. Bins lie between the
/// distinct deciles of the reference.
#[expect(clippy::type_complexity, reason = "a table of numbers")]
const FACTS: [(usize, usize, f64, bool, [(f64, f64); 4], [f64; 3]); 11] = [
    (
        12,
        9,
        0.3,
        false,
        [
            (0.4444444444444444, 0.20567482053550165),
            (0.3055555555555558, 0.14052665600653216),
            (1.2234019819458937, 0.1018759539986801),
            (5.347222222222222, 0.803050785791485),
        ],
        [0.2710900676172988, 3.227437506475251, 0.4267749819076116],
    ),
    (
        20,
        20,
        0.2,
        false,
        [
            (0.4, 0.08105771161340149),
            (0.45250000000000057, 0.054292899284919406),
            (2.402403973503392, 0.03354368481145318),
            (9.333333333333334, 0.4070908354905886),
        ],
        [0.21268878034661853, 1.9752337599994039, 0.37353003812096],
    ),
    (
        19,
        20,
        0.05,
        false,
        [
            (0.24736842105263157, 0.46284998299313723),
            (0.12143499775078759, 0.5095199027152405),
            (-0.15633018232181795, 0.25),
            (6.578684210526315, 0.6808913066742317),
        ],
        [0.09423283113191891, 1.4361687559980199, 0.31644396854050466],
    ),
    (
        50,
        50,
        0.1,
        false,
        [
            (0.2, 0.2719135601522248),
            (0.27940000000000254, 0.15580586828707632),
            (1.2223288484071257, 0.10198136851889666),
            (11.897357028935975, 0.2191578856598285),
        ],
        [0.09800674108143805, 0.5390037816817601, 0.25111304321512795],
    ),
    (
        300,
        200,
        0.05,
        false,
        [
            (0.115, 0.07921148920057296),
            (0.5452366666666677, 0.03061563241688059),
            (3.9281585333922386, 0.008587568472803076),
            (9.065455450472871, 0.4312541603376605),
        ],
        [0.06563081818634607, 0.07687971527872828, 0.09753332495670351],
    ),
    (
        250,
        3000,
        0.02,
        false,
        [
            (0.05, 0.5960731859027769),
            (0.16422379487181615, 0.34914769728809913),
            (0.7493339348773864, 0.16153225998762547),
            (7.72458606908218, 0.562121863132292),
        ],
        [0.02435080464789206, 0.032692140033079596, 0.06385182896104441],
    ),
    (
        300,
        200,
        0.06,
        true,
        [
            (0.115, 0.07921148920057296),
            (0.8749983333333233, 0.004836669602976573),
            (7.402859479263999, 0.001),
            (8.800617648039376, 0.26728969219620813),
        ],
        [0.8083333333333332, 0.07286803439298117, 0.09510005794146066],
    ),
    (
        12000,
        11000,
        0.004,
        false,
        [
            (0.008878787878787875, 0.752659098798965),
            (0.0871999463111024, 0.6513529968020211),
            (0.3485668446474389, 0.2400294668559167),
            (6.026422876011654, 0.7372708888009434),
        ],
        [0.003309430929993756, 0.00105011869060954, 0.011456721486943823],
    ),
    (
        10001,
        60,
        0.1,
        false,
        [
            (0.1166666666666667, 0.35964701151035705),
            (0.20922509064403982, 0.24984515562720255),
            (5.163443644514336, 0.0030320716134485453),
            (9.610978816136862, 0.3828861686157076),
        ],
        [0.058601224740009804, 0.2381931028444052, 0.1657861243073121],
    ),
    (
        12000,
        12000,
        0.05,
        false,
        [
            (0.05725000000000002, 1.5541060635962352e-17),
            (14.398384527778035, 9.514602439253395e-10),
            (158.42594139928053, 0.001),
            (313.194732874381, 4.135061273298147e-62),
        ],
        [0.0496527233598831, 0.053537011846133825, 0.08128356216312263],
    ),
    (
        2000,
        2000,
        0.0,
        false,
        [
            (0.026, 0.5085995252205004),
            (0.11915175000001454, 0.4990790961567707),
            (-0.41511606515299876, 0.25),
            (8.60406664759361, 0.47459470766401557),
        ],
        [0.00860480376383384, 0.008618276804978115, 0.032808464437645395],
    ),
];

/// Uniform values out of a congruential generator that is as easily written in Python.
fn sample(seed: u64, count: usize, shift: f64, is_rounded: bool) -> Vec<f64> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = (state >> 11) as f64 / (1_u64 << 53) as f64 + shift;
            if is_rounded { (10.0 * value).floor() } else { value }
        })
        .collect()
}

fn compare(test: Test, reference: &[f64], window: &[f64]) -> Outcome {
    drift::numeric(test, reference, window, test.customary_threshold()).expect("numbers")
}

/// If it fails, a report calls drift what nobody else's tool calls drift, or misses it.
#[test]
fn statistics_and_p_values_are_scipys() {
    for (n, m, shift, is_rounded, tests, distances) in FACTS {
        let (reference, window) = (sample(1, n, 0.0, is_rounded), sample(2, m, shift, is_rounded));
        let with_p_value = [Test::Ks, Test::CramerVonMises, Test::AndersonDarling, Test::ChiSquare];
        for (test, (statistic, p_value)) in with_p_value.into_iter().zip(tests) {
            let found = compare(test, &reference, &window);
            let place = format!("{test}, {n} and {m}: {found:?}, expected {statistic} and {p_value}");
            assert!((found.statistic - statistic).abs() <= 1e-9 * statistic.abs().max(1.0), "{place}");
            let difference = (found.p_value.expect("a p-value") - p_value).abs();
            // SciPy's limit of Cramér-von Mises is itself good to 1e-8 or so, its asymptotic KS to 1e-6 relative.
            assert!(difference <= 2e-8 + 2e-6 * p_value || difference <= 1e-9, "{place}");
        }
        for (test, distance) in [Test::Wasserstein, Test::Psi, Test::JensenShannon].into_iter().zip(distances)
        {
            let found = compare(test, &reference, &window);
            assert_eq!(found.p_value, None);
            assert!(
                (found.statistic - distance).abs() <= 1e-9,
                "{test}, {n} and {m}: {found:?}, expected {distance}"
            );
        }
    }
}

/// If it fails, a column that moved far out is called calm because its p-value came out as zero less something.
#[test]
fn tiny_p_values_are_small_numbers() {
    for (n, m, shift, is_rounded, tests, _) in FACTS {
        let (reference, window) = (sample(1, n, 0.0, is_rounded), sample(2, m, shift, is_rounded));
        let (_, p_value) = tests[0];
        let found = compare(Test::Ks, &reference, &window).p_value.expect("a p-value");
        assert!((found - p_value).abs() <= 1e-5 * p_value, "{n} and {m}: {found:e}, expected {p_value:e}");
    }
    let reference = sample(1, 500, 0.0, false);
    let apart: Vec<f64> = reference.iter().map(|value| value + 2.0).collect();
    for test in Test::ALL {
        let found = compare(test, &reference, &apart);
        assert!(found.drift, "{found:?}");
        let same = compare(test, &reference, &reference);
        assert!(!same.drift && same.statistic <= 0.0, "{same:?}");
        assert!(same.p_value.is_none_or(|p_value| p_value >= 0.25), "{same:?}");
    }
}

/// `chi2_contingency`, with Yates's correction at two categories; `jensenshannon`. If it fails, the shares of predicted
/// classes are judged otherwise than elsewhere.
#[test]
fn categories_are_compared_by_their_counts() {
    let counts = |test, reference: &[u64], window: &[u64]| {
        drift::categorical(test, reference, window, 0.05).expect("the same categories")
    };
    let (reference, window) = ([147, 202, 224, 258, 120], [155, 216, 262, 352, 98]);
    let found = counts(Test::ChiSquare, &reference, &window);
    assert!((found.statistic - 11.840_940_345_535_156).abs() < 1e-10, "{found:?}");
    assert!(found.p_value.is_some_and(|p_value| (p_value - 0.018_574_112_637_234_134).abs() < 1e-12));
    assert!(found.drift);
    assert!(
        (counts(Test::JensenShannon, &reference, &window).statistic - 0.054_056_982_032_540_626).abs()
            < 1e-12
    );
    assert!((counts(Test::Psi, &reference, &window).statistic - 0.023_445_173_077_597_15).abs() < 1e-12);
    // 2 x 2: scipy.stats.chi2_contingency([[10, 20], [20, 20]]).
    let two = counts(Test::ChiSquare, &[10, 20], &[20, 20]);
    assert!((two.statistic - 1.323_437_5).abs() < 1e-12, "{two:?}");
    // A category that is new, and one that nobody uses.
    assert!(counts(Test::ChiSquare, &[100, 0, 0], &[80, 20, 0]).drift);

    let codes = Reference::categories(&[1.0, 1.0, 2.0, 3.0, 3.0, 3.0]).expect("categories");
    let found = codes.compare(Test::ChiSquare, &[9.0; 50], 0.05).expect("a window");
    assert!(found.drift, "categories that were never seen: {found:?}");
    assert_eq!(codes.compare(Test::Ks, &[1.0, 2.0], 0.05), Err(DriftError::Categories { test: Test::Ks }));
    assert!(drift::categorical(Test::ChiSquare, &[1, 2], &[1], 0.05).is_err());
    assert!(drift::categorical(Test::Wasserstein, &[1, 2], &[1, 2], 0.05).is_err());
    assert!(drift::categorical(Test::Psi, &[0, 1], &[1, 2], 0.05).is_err());
}

/// If it fails, a column with holes is compared by its holes, or a column of nothing crashes the report.
#[test]
fn values_that_are_none_are_left_out_and_counted() {
    let reference = [1.0, f64::NAN, 2.0, f64::INFINITY, 3.0, 4.0];
    let window = [f64::NAN, 1.5, 2.5, f64::NEG_INFINITY];
    let found = compare(Test::Ks, &reference, &window);
    assert_eq!((found.statistic, found.dropped), (0.5, 2));
    assert_eq!(Reference::numbers(&reference).expect("four values").dropped(), 2);
    let error = drift::numeric(Test::Ks, &reference, &[f64::NAN, 1.0], 0.05).expect_err("one value");
    assert_eq!(error.to_string(), "the window has 1 finite values, 2 are needed: take a longer one");
    let error = "kolmogorov".parse::<Test>().expect_err("no such test");
    assert!(error.to_string().contains("known are ks, psi"), "{error}");
    assert!(Test::ALL.into_iter().all(|test| test.name().parse() == Ok(test)));
}

/// If it fails, a drifted feature goes unnoticed, or is noticed at the wrong time.
#[test]
fn a_detector_finds_a_shift_in_the_window_that_has_it() {
    let seed = 11;
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    let mut draw = || (generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let reference: Vec<f64> = (0..2000).map(|_| draw()).collect();
    let mut detector = Detector::new(&reference, Test::Ks, 200, 1e-4).expect("numbers");
    let mut alarms: Vec<Alarm> = Vec::new();
    for row in 0..2000_u64 {
        let shift = if row < 1100 { 0.0 } else { 0.3 };
        alarms.extend(detector.observe(draw() + shift, row * 1_000));
    }
    // The window from 1000 on is half shifted, those from 1200 on wholly.
    let since: Vec<u64> = alarms.iter().map(|alarm| alarm.since_ns / 1_000).collect();
    assert_eq!(since, [1000, 1200, 1400, 1600, 1800], "seed {seed}");
    assert_eq!(alarms[1].at_ns, 1_399_000);
    assert_eq!(detector.windows(), (10, 5));
    assert!(detector.latest().is_some_and(|latest| latest.drift));
    // Holes count for the length of a window, and a window of holes says nothing.
    let mut holes = Detector::new(&reference, Test::Ks, 4, 1e-4).expect("numbers");
    assert!((0..8).all(|row| holes.observe(f64::NAN, row).is_none()));
    assert_eq!(holes.windows(), (0, 0));
}

/// Reference 2000 rows, window 100: at the customary threshold of 0.1 about three windows of four are called drifted by
/// Wasserstein's distance although nothing changed. If it fails, so are calibrated ones.
#[test]
fn a_calibrated_threshold_keeps_to_its_false_alarms() {
    let seed = 5;
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    let mut word = || generator.next_u64();
    // Sums of twelve uniform values: nearly normal.
    let normal = |word: &mut dyn FnMut() -> u64| -> f64 {
        (0..12).map(|_| (word() >> 11) as f64 / (1_u64 << 53) as f64).sum::<f64>() - 6.0
    };
    let draw = |count: usize, word: &mut dyn FnMut() -> u64| -> Vec<f64> {
        (0..count).map(|_| normal(word)).collect()
    };
    let reference = Reference::numbers(&draw(2000, &mut word)).expect("numbers");
    for test in [Test::Wasserstein, Test::Psi, Test::Ks] {
        let threshold = reference.calibrate(test, 100, 0.05, 200, &mut word).expect("a threshold");
        let windows: Vec<Vec<f64>> = (0..200).map(|_| draw(100, &mut word)).collect();
        let count = |threshold| {
            let drifted =
                |window: &&Vec<f64>| reference.compare(test, window, threshold).expect("a window").drift;
            windows.iter().filter(drifted).count()
        };
        let alarms = count(threshold);
        // 5 % of 200, of which more than 28 have a probability under 10^-6.
        assert!(alarms <= 28, "seed {seed}, {test} at {threshold}: {alarms} alarms");
        if test == Test::Wasserstein {
            assert!(count(test.customary_threshold()) > 100);
        }
    }
}

/// A column of a golden file: its values (NaN where there is none), by the name of the column.
fn column(text: &str, name: &str) -> Vec<f64> {
    let mut lines = text.lines();
    let position = lines.next().and_then(|head| head.split(',').position(|column| column == name));
    let position = position.expect("the column");
    lines
        .map(|line| line.split(',').nth(position).and_then(|cell| cell.parse().ok()).unwrap_or(f64::NAN))
        .collect()
}

/// Every numeric and categorical column of the golden files in `WINDTUNNEL_DRIFT_GOLDEN` (`golden.json` beside
/// `*.reference.csv` and `*.current.csv`). If it fails, a report of ours and one of SciPy's differ on the same data.
#[test]
fn golden_columns_come_out_as_scipys() {
    let Some(folder) = std::env::var_os("WINDTUNNEL_DRIFT_GOLDEN").map(std::path::PathBuf::from) else {
        eprintln!("skipped: WINDTUNNEL_DRIFT_GOLDEN names no folder");
        return;
    };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a golden file");
    // JSON has no NaN; the one that is there is the index of a constant column, which is not compared.
    let golden: serde_json::Value =
        serde_json::from_str(&read("golden.json").replace("NaN", "null")).expect("JSON");
    let mut compared = 0;
    for (scenario, facts) in golden["scenarios"].as_object().expect("scenarios") {
        let (reference, current) =
            (read(&format!("{scenario}.reference.csv")), read(&format!("{scenario}.current.csv")));
        for (name, facts) in facts["numeric"].as_object().expect("columns") {
            let facts = &facts["scipy"];
            let (reference, current) = (column(&reference, name), column(&current, name));
            // SciPy's Cramér-von Mises is an artefact where values repeat a lot.
            let repeats = ["count", "const", "binary"].contains(&name.as_str());
            for (test, key) in [
                (Test::Ks, "ks_auto"),
                (Test::AndersonDarling, "anderson_ksamp_midrank"),
                (Test::CramerVonMises, "cvm_auto"),
                (Test::Wasserstein, "wasserstein"),
                (Test::Psi, "psi_refquantile10_eps1e4"),
            ] {
                let found = compare(test, &reference, &current);
                let fact = |part: usize| facts[key].as_f64().or_else(|| facts[key][part].as_f64());
                let Some(statistic) = fact(0).filter(|_| test != Test::CramerVonMises || !repeats) else {
                    continue;
                };
                let place = format!("{scenario}, {name}, {test}: {found:?}, expected {}", facts[key]);
                assert!((found.statistic - statistic).abs() <= 1e-9 * statistic.abs().max(1.0), "{place}");
                if let (Some(p_value), Some(expected)) = (found.p_value, fact(1)) {
                    assert!((p_value - expected).abs() <= 2e-8 + 1e-6 * expected, "{place}");
                }
                compared += 1;
            }
        }
        let facts = &facts["categorical"]["cat"];
        let counts = |key: &str| -> Vec<u64> {
            facts[key].as_array().expect("counts").iter().filter_map(serde_json::Value::as_u64).collect()
        };
        let (reference, current) = (counts("ref_counts"), counts("cur_counts"));
        let of = |test| drift::categorical(test, &reference, &current, 0.05).expect("the same categories");
        let chi_square = of(Test::ChiSquare);
        for (found, expected) in [
            (chi_square.statistic, &facts["scipy"]["chi2_contingency"][0]),
            (chi_square.p_value.expect("a p-value"), &facts["scipy"]["chi2_contingency"][1]),
            (of(Test::JensenShannon).statistic, &facts["scipy"]["js_distance_nat"]),
            (of(Test::Psi).statistic, &facts["scipy"]["psi_eps1e4"]),
        ] {
            let expected = expected.as_f64().expect("a number");
            assert!(
                (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
                "{scenario}, cat: {found}, {expected}"
            );
            compared += 1;
        }
    }
    assert!(compared > 150, "{compared} comparisons");
}
