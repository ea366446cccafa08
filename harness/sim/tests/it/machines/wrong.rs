//! What cannot be is said before anything starts.

use super::fixed;

/// A rate without a size, or a fault that could not do anything, must not be left out silently.
#[test]
fn what_would_have_no_effect_is_refused() {
    let refused = |change: &dyn Fn(&mut crate::setting::Setting)| {
        let mut setting = fixed(1, "");
        change(&mut setting);
        setting.read().expect_err("wrong")
    };
    let text = refused(&|setting| {
        setting.pod_start = setting.pod_start.replace(" load: 300ms", " load: {rate: 1GiB/s}")
    });
    assert!(text.contains("how large"), "{text}");
    let slow = "{at: 1s, fault: slow-storage, prefix: 's3://', factor: 2, for: 5s}";
    let text = refused(&|setting| setting.faults = slow.to_owned());
    assert!(text.contains("slow-storage") && text.contains("size"), "{text}");
    let text = refused(&|setting| {
        setting.faults = slow.to_owned();
        setting.pod_start = setting.pod_start.replace("download: 300ms", "download: {size: 1GiB}");
    });
    assert!(text.contains("bandwidth.storage"), "{text}");
}
