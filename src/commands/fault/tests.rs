use clap::Parser as _;

use super::*;

#[derive(Debug, clap::Parser)]
struct Cli {
    #[command(subcommand)]
    fault: Fault,
}

#[test]
fn a_warden_gets_the_fault_that_was_asked_for() {
    for given in [
        "memory --limit 64 --warm-up 5 --fill 9",
        "latency --warm-up 1 --decline 2 --seed 3",
        "disk --size 16 --warm-up 1 --fill 2 --dir /mnt/x",
        "io --warm-up 1 --rise 2 --writers 3 --deadline 4 --dir /tmp/y",
    ] {
        let parse = |words: Vec<String>| Cli::try_parse_from(std::iter::once("fault".to_owned()).chain(words));
        let fault = parse(given.split(' ').map(str::to_owned).collect())
            .expect("arguments")
            .fault;
        assert_eq!(fault.arguments().join(" "), given);
        let again = parse(fault.arguments()).expect("arguments").fault;
        assert_eq!(format!("{again:?}"), format!("{fault:?}"));
    }
}

#[test]
fn noise_is_centred_and_the_same_for_a_seed() {
    let draw = |seed| {
        let mut noise = Noise::new(seed);
        (0..2000).map(|_| noise.normal()).collect::<Vec<f64>>()
    };
    assert_eq!(draw(7), draw(7));
    let mean = draw(7).iter().sum::<f64>() / 2000.0;
    let variance = draw(7).iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 2000.0;
    assert!(mean.abs() < 0.1 && (variance - 1.0).abs() < 0.1, "{mean} {variance}");
}
