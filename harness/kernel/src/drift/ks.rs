//! The two-sample Kolmogorov-Smirnov test.

use std::f64::consts::PI;

use super::ranks::steps;

/// Samples up to this size get an exact p-value.
pub const EXACT_MAXIMUM: usize = 10_000;

/// The statistic D, the largest difference of the two distribution functions, and its two-sided p-value for two
/// ascending samples: exact up to [`EXACT_MAXIMUM`] values a side, asymptotic beyond. (0, 1) when a sample is empty.
/// Values that repeat make the exact p-value err on the safe side.
#[must_use]
pub fn test(reference: &[f64], window: &[f64]) -> (f64, f64) {
    if reference.is_empty() || window.is_empty() {
        return (0.0, 1.0);
    }
    let (n, m) = (reference.len() as u64, window.len() as u64);
    let unit = divisor(n, m);
    // In units of 1 / lcm(n, m), in which every difference is whole.
    let (step_n, step_m) = (m / unit, n / unit);
    let difference = |at_most: (usize, usize)| {
        (i128::from(step_n) * at_most.0 as i128 - i128::from(step_m) * at_most.1 as i128).unsigned_abs()
    };
    let largest = steps(reference, window).map(|step| difference(step.at_most)).max().unwrap_or(0);
    let common = u128::from(n) * u128::from(step_n);
    let statistic = largest as f64 / common as f64;
    let p_value = if largest == 0 {
        1.0
    } else if n.max(m) as usize > EXACT_MAXIMUM {
        asymptotic(statistic, n as f64, m as f64)
    } else if n == m {
        exact_equal(n, largest as u64)
    } else {
        exact(n, m, unit, largest as i64)
    };
    (statistic, p_value.clamp(0.0, 1.0))
}

/// The two-sided p-value from the exact distribution of the one-sample statistic at the effective size `nm / (n + m)`.
#[must_use]
pub fn asymptotic(statistic: f64, n: f64, m: f64) -> f64 {
    let size = (n * m / (n + m)).round().max(1.0);
    one_sample(statistic, size).clamp(0.0, 1.0)
}

/// P[D >= h/n] for two samples of `n`: alternating sums of paths, each term as a ratio to all paths.
fn exact_equal(n: u64, h: u64) -> f64 {
    let (n, h) = (n as f64, h as f64);
    let mut p = 0.0;
    let mut k = (n / h).floor();
    while k >= 0.0 {
        let mut ratio = 1.0;
        let mut j = 0.0;
        while j < h {
            ratio *= (n - k * h - j) / (n + k * h + j + 1.0);
            j += 1.0;
        }
        p = ratio * (1.0 - p);
        k -= 1.0;
    }
    2.0 * p
}

/// P[D >= h/lcm]: the share of all paths from (0, 0) to (n, m) that touch the band `|x/n - y/m| >= h/lcm`. The last step
/// to (x, y) comes from (x-1, y) with probability x / (x + y), which makes it a sum of probabilities that never cancels.
fn exact(n: u64, m: u64, unit: u64, h: i64) -> f64 {
    // The shorter side is walked across.
    let (n, m) = (n.max(m) as i64, n.min(m) as i64);
    let (step_x, step_y) = (m / unit as i64, n / unit as i64);
    // touched[y] for the column before; outside of the band it is 1.
    let mut touched = vec![1.0_f64; m as usize + 1];
    for x in 0..=n {
        let middle = step_x * x;
        // |step_x x - step_y y| < h
        let from = ((middle - h).div_euclid(step_y) + 1).max(0);
        let to = (middle + h - 1).div_euclid(step_y).min(m);
        if from > 0 && from - 1 <= m {
            touched[from as usize - 1] = 1.0;
        }
        let mut below = 1.0;
        for y in from..=to {
            let here = if x == 0 && y == 0 {
                0.0
            } else {
                let (x, y_share) = (x as f64, y as f64);
                let left = if x > 0.0 { touched[y as usize] } else { 0.0 };
                let down = if y > 0 { below } else { 0.0 };
                (x * left + y_share * down) / (x + y_share)
            };
            touched[y as usize] = here;
            below = here;
        }
        if to < m {
            touched[(to + 1) as usize] = 1.0;
        }
    }
    touched[m as usize]
}

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a.max(1) } else { divisor(b, a % b) }
}

/// P[D_n >= d] of one sample of `n` against a continuous distribution, each range by the method that R. Simard and
/// P. L'Ecuyer (*Computing the Two-Sided Kolmogorov-Smirnov Distribution*, 2011) recommend for it.
fn one_sample(d: f64, n: f64) -> f64 {
    let square = n * d * d;
    if d <= 0.5 / n {
        1.0
    } else if d >= 1.0 || square > 370.0 {
        0.0
    } else if square >= 2.2 {
        // Both sides at once are as good as impossible.
        2.0 * one_sided(d, n)
    } else if n <= 140.0 {
        1.0 - marsaglia(d, n)
    } else {
        1.0 - pelz_good(d, n)
    }
}

/// P[D+ >= d] by N. Smirnov's formula, or its asymptotic form for large samples.
fn one_sided(d: f64, n: f64) -> f64 {
    const SUMMED_MAXIMUM: f64 = 20_000.0;
    if n > SUMMED_MAXIMUM {
        let t = (6.0 * n * d + 1.0) * (6.0 * n * d + 1.0) / (18.0 * n);
        let correction = 1.0 - (2.0 * t * t - 4.0 * t - 1.0) / (18.0 * n);
        return (correction.max(0.0) * libm::exp(-t)).min(1.0);
    }
    let last = (n * (1.0 - d)).floor();
    let mut ln_choose = 0.0;
    let mut sum = 0.0;
    let mut j = 0.0;
    while j <= last {
        let over = d + j / n;
        let under = 1.0 - over;
        if under > 0.0 {
            sum += libm::exp(ln_choose + (j - 1.0) * libm::log(over) + (n - j) * libm::log(under));
        }
        ln_choose += libm::log((n - j) / (j + 1.0));
        j += 1.0;
    }
    d * sum
}

/// P[D_n < d] by G. Marsaglia, W. Tsang and J. Wang (*Evaluating Kolmogorov's Distribution*, 2003).
fn marsaglia(d: f64, n: f64) -> f64 {
    let k = (n * d).floor() + 1.0;
    let h = k - n * d;
    let size = 2 * k as usize - 1;
    let mut matrix = vec![0.0; size * size];
    for row in 0..size {
        for column in 0..size.min(row + 2) {
            matrix[row * size + column] = 1.0;
        }
    }
    let mut power = 1.0;
    for row in 0..size {
        power *= h;
        matrix[row * size] -= power;
        matrix[(size - 1) * size + size - 1 - row] -= power;
    }
    let corner = 2.0 * h - 1.0;
    matrix[(size - 1) * size] += if corner > 0.0 { libm::pow(corner, size as f64) } else { 0.0 };
    for row in 0..size {
        let mut factorial = 1.0;
        for column in (0..size.min(row + 2)).rev() {
            let order = row as f64 - column as f64 + 1.0;
            if order > 0.0 {
                factorial *= order;
                matrix[row * size + column] /= factorial;
            }
        }
    }
    let mut result = vec![0.0; size * size];
    for row in 0..size {
        result[row * size + row] = 1.0;
    }
    // The power n, scaled by n!/n^n as it grows, so that nothing overflows.
    let mut rounds = n as u64;
    let (mut exponent, mut matrix_exponent) = (0_i32, 0_i32);
    let middle = (k as usize - 1) * size + k as usize - 1;
    while rounds > 0 {
        if rounds % 2 == 1 {
            result = times(&result, &matrix, size);
            exponent += matrix_exponent;
            if result[middle] > 1e140 {
                result.iter_mut().for_each(|entry| *entry *= 1e-140);
                exponent += 140;
            }
        }
        matrix = times(&matrix, &matrix, size);
        matrix_exponent *= 2;
        if matrix[middle] > 1e140 {
            matrix.iter_mut().for_each(|entry| *entry *= 1e-140);
            matrix_exponent += 140;
        }
        rounds /= 2;
    }
    let mut value = result[middle];
    let mut i = 1.0;
    while i <= n {
        value *= i / n;
        if value < 1e-140 {
            value *= 1e140;
            exponent -= 140;
        }
        i += 1.0;
    }
    value * libm::pow(10.0, f64::from(exponent))
}

fn times(one: &[f64], other: &[f64], size: usize) -> Vec<f64> {
    let mut product = vec![0.0; size * size];
    for row in 0..size {
        for inner in 0..size {
            let factor = one[row * size + inner];
            for column in 0..size {
                product[row * size + column] += factor * other[inner * size + column];
            }
        }
    }
    product
}

/// P[D_n < d] by W. Pelz and I. Good (*Approximating the Lower Tail-Areas of the Kolmogorov-Smirnov One-Sample
/// Statistic*, 1976): the limiting distribution with three corrections.
fn pelz_good(d: f64, n: f64) -> f64 {
    let root = n.sqrt();
    let z = root * d;
    let (pi2, pi4, pi6) = (PI * PI, PI * PI * PI * PI, PI * PI * PI * PI * PI * PI);
    let (z2, z4, z6) = (z * z, z * z * z * z, z * z * z * z * z * z);
    let (mut k0, mut k1, mut k2, mut k2b, mut k3, mut k3b) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for round in 0..20 {
        let odd = f64::from(round) + 0.5;
        let o2 = odd * odd;
        let weight = libm::exp(-pi2 * o2 / (2.0 * z2));
        k0 += weight;
        k1 += (pi2 * o2 - z2) * weight;
        k2 += (6.0 * z6 + 2.0 * z4 + pi2 * (2.0 * z4 - 5.0 * z2) * o2 + pi4 * (1.0 - 2.0 * z2) * o2 * o2)
            * weight;
        k3 += (-30.0 * z6 - 90.0 * z6 * z2
            + pi2 * (135.0 * z4 - 96.0 * z6) * o2
            + pi4 * (212.0 * z4 - 60.0 * z2) * o2 * o2
            + pi6 * (5.0 - 30.0 * z2) * o2 * o2 * o2)
            * weight;
    }
    for round in 1..20 {
        let whole = f64::from(round);
        let w2 = whole * whole;
        let weight = libm::exp(-pi2 * w2 / (2.0 * z2));
        k2b += pi2 * w2 * weight;
        k3b += (3.0 * pi2 * w2 * z2 - pi4 * w2 * w2) * weight;
    }
    let half = (PI / 2.0).sqrt();
    let root_2pi = (2.0 * PI).sqrt();
    k0 *= root_2pi / z;
    k1 *= half / (3.0 * z4);
    k2 = k2 * half / (36.0 * z6 * z) - k2b * half / (18.0 * z2 * z);
    k3 = k3 * half / (3240.0 * z6 * z4) + k3b * half / (108.0 * z6);
    k0 + k1 / root + k2 / n + k3 / (n * root)
}
