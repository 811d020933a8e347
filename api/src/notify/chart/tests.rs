use std::io::Read as _;

use flate2::read::ZlibDecoder;

use super::*;

fn trend(values: &[f64], threshold: Option<f64>, unit: &str) -> Trend {
    let value = |value: &f64| value.is_finite().then_some(*value);
    Trend {
        start_ms: 0,
        step_ms: 450_000,
        values: values.iter().map(value).collect(),
        threshold,
        unit: unit.to_owned(),
    }
}

/// A day on which a host goes bad.
fn rising() -> Trend {
    let value = |step: u32| 0.021 + 0.9 * (f64::from(step) / 48.0).powi(5) + 0.01 * f64::from(step % 3);
    trend(&(0..49).map(value).collect::<Vec<_>>(), Some(0.34), "1")
}

#[test]
fn the_line_shows_how_it_came_and_says_it_in_numbers() {
    let check = |values: &[f64], unit: &str, expected: &str| {
        let words = words(&trend(values, None, unit))
            .unwrap_or_default()
            .replace('\u{a0}', " ");
        assert_eq!(words, expected, "{values:?}");
    };
    check(
        &[0.02, 0.02, 0.3, f64::NAN, 0.91],
        "1",
        "30 min before: ▁▁▃·█ (lowest 2 %, highest 91 %, last 91 %)",
    );
    check(&[3.0, 2.0, 1.0], "", "15 min before: █▅▁ (lowest 1, highest 3, last 1)");
    check(&[5.0, 5.0], "", "8 min before: ▁▁ (lowest 5, highest 5, last 5)");
    check(
        &[1e300, -1.2e7],
        "",
        "8 min before: █▁ (lowest -12M, highest 1e+276Y, last -12M)",
    );
    check(
        &[7200.0, 30.0],
        "s",
        "8 min before: █▁ (lowest 30 s, highest 2 h, last 30 s)",
    );
    check(&[f64::NAN, f64::INFINITY], "", "");
    check(&[], "", "");
}

#[test]
fn the_line_fits_a_phone() {
    let words = words(&rising()).expect("a line");
    let bars = words.chars().filter(|c| BARS.contains(c)).count();
    assert_eq!(bars, COLUMNS);
    assert!(words.starts_with("6\u{a0}h before: ▁"), "{words}");
}

/// The pixels of a picture, read as the format says, its checksums proven.
fn pixels(png: &[u8]) -> Vec<u8> {
    let mut rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n").expect("the signature");
    let (mut header, mut packed) = (Vec::new(), Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (content, tail) = tail.split_at(4 + length);
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let (sum, tail) = tail.split_first_chunk::<4>().expect("a checksum");
        assert_eq!(u32::from_be_bytes(*sum), crc.sum());
        match &content[..4] {
            b"IHDR" => header.extend(&content[4..]),
            b"IDAT" => packed.extend(&content[4..]),
            kind => assert_eq!(kind, b"IEND"),
        }
        rest = tail;
    }
    assert!(rest.is_empty());
    let side = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes")) as usize;
    assert_eq!((side(&header[..4]), side(&header[4..8])), (WIDTH, HEIGHT));
    assert_eq!(header[8..], [8, 2, 0, 0, 0]);
    let mut rows = Vec::new();
    ZlibDecoder::new(packed.as_slice())
        .read_to_end(&mut rows)
        .expect("rows");
    assert_eq!(rows.len(), HEIGHT * (1 + WIDTH * 3));
    let row = |row: &[u8]| {
        assert_eq!(row[0], 0);
        row[1..].to_vec()
    };
    rows.chunks(1 + WIDTH * 3).flat_map(row).collect()
}

#[test]
fn the_picture_is_a_small_png_with_a_line_that_rises_to_a_dot() {
    let png = picture(&rising()).expect("a picture");
    // For those who want to look at it: `CHART_PNG=FILE cargo test -p foreshock-api the_picture_is`.
    if let Some(path) = option_env!("CHART_PNG") {
        std::fs::write(path, &png).expect("a file to look at");
    }
    assert!(png.len() < 20_000, "{} bytes", png.len());
    let pixels = pixels(&png);
    let rows_of = |colour: [u8; 3], columns: std::ops::Range<usize>| -> Vec<usize> {
        let has = |row: &usize| columns.clone().any(|x| pixels[(row * WIDTH + x) * 3..][..3] == colour);
        (0..HEIGHT).filter(has).collect()
    };
    let early = rows_of([0x1d, 0x4e, 0xd8], 40..60);
    let late = rows_of([0xc6, 0x28, 0x28], 495..505);
    let limit = rows_of([0xc2, 0x5e, 0x00], 16..500);
    assert!(
        late[0] < limit[0] && limit[0] < early[0],
        "{late:?} {limit:?} {early:?}"
    );
    assert_eq!(picture(&rising()), Some(png), "the same at each attempt");
}

#[test]
fn no_value_breaks_the_picture() {
    for (values, threshold) in [
        (vec![5.0], None),
        (vec![5.0, 5.0], Some(5.0)),
        (vec![f64::MAX, f64::MIN, 0.0], Some(f64::MIN)),
        (vec![f64::NAN, 1.0, f64::NAN], Some(1e-300)),
    ] {
        let png = picture(&trend(&values, threshold, "By")).expect("a picture");
        assert_eq!(pixels(&png).len(), WIDTH * HEIGHT * 3);
    }
    assert_eq!(picture(&trend(&[f64::NAN], None, "")), None);
    assert_eq!(picture(&trend(&[], Some(1.0), "")), None);
}
