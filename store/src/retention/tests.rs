use super::expired;
use crate::manifest::Manifest;
use crate::part::{Level, PartId, PartMeta};

#[test]
fn a_part_goes_once_its_newest_sample_is_too_old() {
    let part = |id, t_min, t_max| PartMeta {
        id: PartId(id),
        rank: id,
        level: Level::Flushed,
        t_min,
        t_max,
        series: 1,
        chunks: 1,
        samples: 1,
        bytes: 1,
    };
    let parts = vec![part(1, 0, 99), part(2, 0, 100), part(3, 50, 2000)];
    let manifest = Manifest {
        parts,
        ..Manifest::default()
    };
    assert_eq!(expired(&manifest, 1100, 1000), [PartId(1)]);
    assert_eq!(expired(&manifest, 1101, 1000), [PartId(1), PartId(2)]);
    assert_eq!(expired(&manifest, i64::MIN, 1000), []);
}
