use super::*;

fn check(labels: &str, expected: &str) {
    let labels = Labels::from_pairs(labels.split_whitespace().filter_map(|pair| pair.split_once('=')));
    let shown = format!(
        "{} {}",
        host_of(&labels).unwrap_or("-"),
        device_of(&labels).unwrap_or("-")
    );
    assert_eq!(shown, expected, "{labels}");
}

#[test]
fn the_host_is_the_first_label_that_names_one() {
    check("host=a host_name=b instance=c:1", "a -");
    check("host_name=b Hostname=c", "b -");
    check("Hostname=c node=d", "c -");
    check("node=d nodename=e", "d -");
    check("nodename=e instance=f:1", "e -");
    check("job=x", "- -");
}

#[test]
fn instance_loses_its_port() {
    check("instance=f:9100", "f -");
    check("instance=f", "f -");
    check("instance=10.0.0.1:80", "10.0.0.1 -");
    check("instance=[::1]:80", "::1 -");
    check("instance=[::1]", "::1 -");
    check("instance=fe80::1", "fe80::1 -");
    check("instance=http://a:80/metrics", "http://a:80/metrics -");
    check("instance=a:", "a: -");
}

#[test]
fn the_device_is_the_hardware_and_not_the_slot() {
    check("Hostname=h UUID=GPU-1 gpu=0 device=nvidia0", "h GPU-1");
    check("host_name=h hw_id=GPU-2 uuid=x", "h GPU-2");
    check("instance=h:9100 device=sda", "h -");
    check("instance=h:9633 serial_number=S3X device=sda", "h S3X");
}
