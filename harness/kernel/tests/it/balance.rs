//! Choice of a pod.

use rand::SeedableRng;
use rand::rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use windtunnel_kernel::routing::balance::{Policy, RoundRobin, first_available, random_choice_of_two};

/// If it fails, a pod with a limit is overloaded while another is free.
#[test]
fn limited_pods_are_never_overfilled() {
    assert_eq!(first_available(&[1, 1, 0], 1), Some(2));
    assert_eq!(first_available(&[1, 1], 1), None);
    let mut turn = RoundRobin::new();
    let picks: Vec<_> = (0..5).map(|_| turn.choose(&[0, 4, 0], 4)).collect();
    assert_eq!(picks, [Some(0), Some(2), Some(0), Some(2), Some(0)]);
    assert_eq!(turn.choose(&[4, 4, 4], 4), None);
    assert_eq!(turn.choose(&[], 4), None);
    assert_eq!(turn.choose(&[0], 4), Some(0), "pods went away");
}

/// If it fails, load gathers on one pod of many.
#[test]
fn the_less_loaded_of_two_wins_and_ties_are_fair() {
    let seed = 42;
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    let mut rng = || generator.next_u64();
    assert_eq!(random_choice_of_two(&[], &mut rng), None);
    assert_eq!(random_choice_of_two(&[9], &mut rng), Some(0));
    assert_eq!(random_choice_of_two(&[3, 2], &mut rng), Some(1));
    let mut in_flight = [0_u32; 5];
    for _ in 0..5000 {
        let pod = random_choice_of_two(&in_flight, &mut rng).expect("there are pods");
        in_flight[pod] += 1;
    }
    assert!(in_flight.iter().all(|count| (995..=1005).contains(count)), "seed {seed}: {in_flight:?}");
    let mut ties = [0_u32; 4];
    for _ in 0..40_000 {
        ties[random_choice_of_two(&[0; 4], &mut rng).expect("there are pods")] += 1;
    }
    // Five standard deviations of 10 000 out of 40 000.
    assert!(ties.iter().all(|count| count.abs_diff(10_000) < 433), "seed {seed}: {ties:?}");
}

/// If it fails, a revision is balanced the wrong way for its concurrency.
#[test]
fn policy_follows_the_container_concurrency() {
    assert_eq!(Policy::of(0), Policy::RandomChoiceOfTwo);
    assert_eq!((Policy::of(1), Policy::of(3)), (Policy::FirstAvailable, Policy::FirstAvailable));
    assert_eq!(Policy::of(4), Policy::RoundRobin);
}
