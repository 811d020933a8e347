//! A chart as a PNG (ISO/IEC 15948) that is read on a phone, in a light and in a dark program: it brings its own background.

use std::io::{self, Write as _};

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use super::glyph::glyph;
use super::{bounds, number, span};
use crate::rule::Trend;

/// Twice what most programs show, for sharp displays.
pub(in crate::notify) const WIDTH: usize = 640;
pub(in crate::notify) const HEIGHT: usize = 240;

const LEFT: f64 = 16.0;
const RIGHT: f64 = 500.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 190.0;
/// Text begins here.
const LABELS: f64 = 514.0;
/// Between two labels, so that none covers another.
const LABEL_HEIGHT: f64 = 26.0;
const DOT: f64 = 7.0;

type Colour = [u8; 3];
const PAPER: Colour = [0xfa, 0xfb, 0xfc];
const GRID: Colour = [0xd3, 0xd8, 0xde];
const INK: Colour = [0x3c, 0x44, 0x4d];
const LINE: Colour = [0x1d, 0x4e, 0xd8];
const SHADE: Colour = [0xdb, 0xe7, 0xfb];
const LIMIT: Colour = [0xc2, 0x5e, 0x00];
const NOW: Colour = [0xc6, 0x28, 0x28];

/// The chart; `None` where there is no value.
pub(in crate::notify) fn picture(trend: &Trend) -> Option<Vec<u8>> {
    let (least, most) = bounds(trend)?;
    let low = trend.threshold.map_or(least, |threshold| least.min(threshold));
    let high = trend.threshold.map_or(most, |threshold| most.max(threshold));
    // Half of each, so that the difference of the largest numbers is one.
    let room = (high / 2.0 - low / 2.0).max(f64::MIN_POSITIVE);
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * ((value / 2.0 - low / 2.0) / room).clamp(0.0, 1.0);
    let steps = trend.values.len().saturating_sub(1).max(1) as f64;
    let x = |step: usize| LEFT + (RIGHT - LEFT) * step as f64 / steps;
    let points: Vec<Option<(f64, f64)>> = trend
        .values
        .iter()
        .enumerate()
        .map(|(step, value)| value.filter(|value| value.is_finite()).map(|value| (x(step), y(value))))
        .collect();

    let mut canvas = Canvas::new();
    for pair in points.windows(2) {
        if let [Some(from), Some(to)] = pair {
            canvas.shade(*from, *to);
        }
    }
    for edge in [TOP, BOTTOM] {
        canvas.line((LEFT, edge), (RIGHT, edge), 0.5, GRID);
    }
    if let Some(threshold) = trend.threshold {
        canvas.dashes(y(threshold));
    }
    for pair in points.windows(2) {
        if let [Some(from), Some(to)] = pair {
            canvas.line(*from, *to, 1.75, LINE);
        }
    }
    let mut labels = Labels::default();
    let last = points.iter().rev().flatten().next();
    let last_value = trend.values.iter().rev().flatten().next();
    if let (Some((x, y)), Some(value)) = (last, last_value) {
        canvas.line((*x, *y), (*x, *y), DOT, NOW);
        labels.put(*y, *value, NOW);
    }
    for (value, colour) in [(trend.threshold, LIMIT), (Some(most), INK), (Some(least), INK)] {
        if let Some(value) = value {
            labels.put(y(value), value, colour);
        }
    }
    for (y, value, colour) in labels.placed {
        canvas.text((LABELS, y), &number(value, &trend.unit), colour);
    }
    canvas.text((LEFT, BOTTOM + 26.0), &format!("-{}", span(trend)), INK);
    canvas.png().ok()
}

#[derive(Default)]
struct Labels {
    placed: Vec<(f64, f64, Colour)>,
}

impl Labels {
    /// Leaves a label out that would cover one which matters more.
    fn put(&mut self, y: f64, value: f64, colour: Colour) {
        if self.placed.iter().all(|(other, ..)| (other - y).abs() >= LABEL_HEIGHT) {
            self.placed.push((y, value, colour));
        }
    }
}

struct Canvas {
    /// Row by row, three bytes a pixel.
    pixels: Vec<u8>,
}

impl Canvas {
    fn new() -> Self {
        Self {
            pixels: PAPER.repeat(WIDTH * HEIGHT),
        }
    }

    /// Lays a colour over a pixel, so much of it.
    fn blend(&mut self, x: usize, y: usize, colour: Colour, share: f64) {
        let at = (y * WIDTH + x) * 3;
        if x >= WIDTH || y >= HEIGHT || share <= 0.0 {
            return;
        }
        for (pixel, wanted) in self.pixels[at..at + 3].iter_mut().zip(colour) {
            let mixed = f64::from(*pixel) + (f64::from(wanted) - f64::from(*pixel)) * share.min(1.0);
            *pixel = mixed.round() as u8;
        }
    }

    /// A line with round ends, or a dot; soft at its edges.
    fn line(&mut self, from: (f64, f64), to: (f64, f64), radius: f64, colour: Colour) {
        let reach = radius + 1.0;
        let (left, right) = (from.0.min(to.0) - reach, from.0.max(to.0) + reach);
        let (top, bottom) = (from.1.min(to.1) - reach, from.1.max(to.1) + reach);
        for y in pixels(top, bottom, HEIGHT) {
            for x in pixels(left, right, WIDTH) {
                let away = distance((x as f64 + 0.5, y as f64 + 0.5), from, to);
                self.blend(x, y, colour, radius + 0.5 - away);
            }
        }
    }

    fn dashes(&mut self, y: f64) {
        const DASH: f64 = 10.0;
        const GAP: f64 = 8.0;
        let mut x = LEFT;
        while x < RIGHT {
            self.line((x, y), ((x + DASH).min(RIGHT), y), 1.0, LIMIT);
            x += DASH + GAP;
        }
    }

    /// What is below a stretch of the line.
    fn shade(&mut self, from: (f64, f64), to: (f64, f64)) {
        for x in pixels(from.0, to.0, WIDTH) {
            let share = ((x as f64 - from.0) / (to.0 - from.0)).clamp(0.0, 1.0);
            let top = from.1 + (to.1 - from.1) * share;
            for y in pixels(top, BOTTOM, HEIGHT) {
                self.blend(x, y, SHADE, 1.0);
            }
        }
    }

    /// Text with its middle at this height. Characters without a picture are left out.
    fn text(&mut self, at: (f64, f64), text: &str, colour: Colour) {
        const SCALE: usize = 3;
        let (mut left, top) = (at.0 as usize, (at.1 - 10.0).max(0.0) as usize);
        for c in text.chars() {
            let rows = glyph(c);
            for (row, bits) in rows.iter().flatten().enumerate() {
                for column in (0..5).filter(|column| bits >> (4 - column) & 1 == 1) {
                    for (dx, dy) in (0..SCALE * SCALE).map(|at| (at % SCALE, at / SCALE)) {
                        self.blend(left + column * SCALE + dx, top + row * SCALE + dy, colour, 1.0);
                    }
                }
            }
            left += if rows.is_some() { 6 * SCALE } else { 3 * SCALE };
        }
    }

    fn png(&self) -> io::Result<Vec<u8>> {
        let size = |number: usize| u32::try_from(number).map_err(io::Error::other);
        let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut header = Vec::new();
        header.extend(size(WIDTH)?.to_be_bytes());
        header.extend(size(HEIGHT)?.to_be_bytes());
        // Eight bits of red, green and blue; the one compression and filter there is; not interlaced.
        header.extend([8, 2, 0, 0, 0]);
        chunk(&mut out, b"IHDR", &header)?;
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
        for row in self.pixels.chunks(WIDTH * 3) {
            // No filter: most rows are like the one above, which deflate finds by itself.
            packed.write_all(&[0])?;
            packed.write_all(row)?;
        }
        chunk(&mut out, b"IDAT", &packed.finish()?)?;
        chunk(&mut out, b"IEND", &[])?;
        Ok(out)
    }
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(content);
    out.extend(length.to_be_bytes());
    out.extend(kind);
    out.extend(content);
    out.extend(crc.sum().to_be_bytes());
    Ok(())
}

/// The pixels between two places, as far as the picture goes.
fn pixels(from: f64, to: f64, size: usize) -> std::ops::Range<usize> {
    let inside = |place: f64| place.clamp(0.0, size as f64) as usize;
    inside(from.floor())..inside(to.ceil())
}

fn distance(at: (f64, f64), from: (f64, f64), to: (f64, f64)) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let square = dx * dx + dy * dy;
    let along = if square > 0.0 {
        (((at.0 - from.0) * dx + (at.1 - from.1) * dy) / square).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (at.0 - from.0 - along * dx).hypot(at.1 - from.1 - along * dy)
}
