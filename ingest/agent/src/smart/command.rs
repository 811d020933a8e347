//! The two calls of the kernel that ask a disk: NVMe's admin command and SCSI's generic one, which carries ATA's.

use std::fs::File;
use std::io;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

/// How long a disk may take: the kernel's own patience for such commands (`NVME_ADMIN_TIMEOUT`, `SD_TIMEOUT` twice over). When it is
/// over the kernel resets the controller or the link, which must not come of a disk that is merely slow.
const TIMEOUT_MILLIS: u32 = 60_000;

/// A command that reads from an NVMe controller.
#[derive(Clone, Copy, Debug)]
pub(super) struct NvmeCommand {
    pub(super) opcode: u8,
    pub(super) namespace: u32,
    pub(super) dword_10: u32,
}

/// A command that reads a page from an ATA disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtaCommand {
    pub(super) command: u8,
    pub(super) feature: u8,
    /// Middle and high byte of the block's address.
    pub(super) address: [u8; 2],
}

/// `struct nvme_admin_cmd` of `linux/nvme_ioctl.h`.
#[repr(C)]
#[derive(Debug, Default)]
struct NvmeAdmin {
    opcode: u8,
    flags: u8,
    reserved_1: u16,
    namespace: u32,
    dwords_2_3: [u32; 2],
    metadata: u64,
    address: u64,
    metadata_bytes: u32,
    data_bytes: u32,
    dwords_10_15: [u32; 6],
    timeout_millis: u32,
    result: u32,
}

/// `NVME_IOCTL_ADMIN_CMD`.
const NVME_ADMIN: Opcode = opcode::read_write::<NvmeAdmin>(b'N', 0x41);

/// `struct sg_io_hdr` of `scsi/sg.h`.
#[repr(C)]
#[derive(Debug)]
struct ScsiGeneric {
    interface: i32,
    direction: i32,
    command_bytes: u8,
    sense_bytes_max: u8,
    vectors: u16,
    data_bytes: u32,
    data: *mut u8,
    command: *mut u8,
    sense: *mut u8,
    timeout_millis: u32,
    flags: u32,
    pack_id: i32,
    user: *mut u8,
    status: u8,
    masked_status: u8,
    message_status: u8,
    sense_bytes: u8,
    host_status: u16,
    driver_status: u16,
    residual: i32,
    duration_millis: u32,
    info: u32,
}

/// `SG_IO`, older than the scheme by which later calls are numbered.
const SCSI_GENERIC: Opcode = 0x2285;
/// `SG_DXFER_NONE` and `SG_DXFER_FROM_DEV`.
const NO_DATA: i32 = -1;
const FROM_DEVICE: i32 = -3;
/// `SG_INFO_OK_MASK`: set where something went wrong.
const INFO_FAILED: u32 = 1;

/// ATA PASS-THROUGH (16), a read of one block by programmed I/O.
const PASS_THROUGH: u8 = 0x85;
const PROTOCOL_NON_DATA: u8 = 3 << 1;
const PROTOCOL_PIO_IN: u8 = 4 << 1;
/// From the device, in blocks, as many as the sector count says.
const TRANSFER: u8 = 0x0e;
/// The registers are wanted afterwards, as sense data.
const CHECK_CONDITION: u8 = 0x20;
/// CHECK POWER MODE, which wakes no disk.
const CHECK_POWER_MODE: u8 = 0xe5;

/// Bytes of sense data that are taken.
const SENSE_BYTES: usize = 32;

/// A call that takes a structure, changes it, and answers with a number.
struct Exchange<'a, const OPCODE: Opcode, T>(&'a mut T);

// SAFETY: the kernel is given a structure of its own, which nobody else holds meanwhile, and may write to it.
#[expect(unsafe_code, reason = "no crate of ours wraps these calls")]
unsafe impl<const OPCODE: Opcode, T> Ioctl for Exchange<'_, OPCODE, T> {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        OPCODE
    }

    fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
        std::ptr::from_mut(self.0).cast()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut rustix::ffi::c_void) -> rustix::io::Result<IoctlOutput> {
        Ok(output)
    }
}

/// Sends a command to an NVMe controller and reads its answer into `data`.
#[expect(unsafe_code, reason = "no crate of ours wraps this call")]
pub(super) fn nvme(device: &File, command: &NvmeCommand, data: &mut [u8]) -> io::Result<()> {
    let mut admin = NvmeAdmin {
        opcode: command.opcode,
        namespace: command.namespace,
        address: data.as_mut_ptr() as u64,
        data_bytes: data.len() as u32,
        dwords_10_15: [command.dword_10, 0, 0, 0, 0, 0],
        timeout_millis: TIMEOUT_MILLIS,
        ..NvmeAdmin::default()
    };
    // SAFETY: the structure is the kernel's own, it names `data` with its true length, which outlives the call, and the kernel
    // keeps neither. A device that knows no such call says so.
    let status = unsafe { ioctl(device, Exchange::<NVME_ADMIN, _>(&mut admin)) }?;
    if status != 0 {
        return Err(io::Error::other(format!(
            "the controller answered with status {status:#x}"
        )));
    }
    Ok(())
}

/// Sends a command to an ATA disk and reads its answer into `page`.
pub(super) fn ata(device: &File, command: AtaCommand, page: &mut [u8; super::ata::PAGE_BYTES]) -> io::Result<()> {
    let answer = send(device, pass_through(command), page)?;
    if answer.failed {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "it takes no ATA commands, or has no SMART",
        ));
    }
    Ok(())
}

/// Whether an ATA disk says that it has stopped spinning: asking it anything else would wake it. One that does not say is awake.
pub(super) fn sleeps(device: &File) -> io::Result<bool> {
    let mut cdb = [0; 16];
    cdb[..3].copy_from_slice(&[PASS_THROUGH, PROTOCOL_NON_DATA, CHECK_CONDITION]);
    cdb[14] = CHECK_POWER_MODE;
    Ok(is_standby(&send(device, cdb, &mut [])?.sense))
}

/// The mode in the sector count that sense data bring back: 0 and 1 are standby (ACS-3, 7.2; SAT-3, 12.2.2.6 and 12.2.2.7).
fn is_standby(sense: &[u8; SENSE_BYTES]) -> bool {
    match (sense[0] & 0x7f, sense[8]) {
        // In descriptor form, the ATA Status Return descriptor.
        (0x72, 0x09) => sense[13] <= 1,
        // In fixed form: ERROR, STATUS, DEVICE and COUNT stand in the place of the information, told apart by 00h/1Dh.
        (0x70, _) if (sense[12], sense[13]) == (0, 0x1d) => sense[6] <= 1,
        _ => false,
    }
}

/// What came of a command.
struct Answered {
    failed: bool,
    sense: [u8; SENSE_BYTES],
}

/// Sends a command to a SCSI device, or to an ATA disk behind its translation, and reads what it answers into `data`, if that is
/// not empty.
#[expect(unsafe_code, reason = "no crate of ours wraps this call")]
fn send(device: &File, mut cdb: [u8; 16], data: &mut [u8]) -> io::Result<Answered> {
    let mut sense = [0; SENSE_BYTES];
    let mut request = ScsiGeneric {
        interface: i32::from(b'S'),
        direction: if data.is_empty() { NO_DATA } else { FROM_DEVICE },
        command_bytes: cdb.len() as u8,
        sense_bytes_max: sense.len() as u8,
        vectors: 0,
        data_bytes: data.len() as u32,
        data: data.as_mut_ptr(),
        command: cdb.as_mut_ptr(),
        sense: sense.as_mut_ptr(),
        timeout_millis: TIMEOUT_MILLIS,
        flags: 0,
        pack_id: 0,
        user: std::ptr::null_mut(),
        status: 0,
        masked_status: 0,
        message_status: 0,
        sense_bytes: 0,
        host_status: 0,
        driver_status: 0,
        residual: 0,
        duration_millis: 0,
        info: 0,
    };
    // SAFETY: as above; all three buffers outlive the call and are as long as is said.
    unsafe { ioctl(device, Exchange::<SCSI_GENERIC, _>(&mut request)) }?;
    Ok(Answered {
        failed: request.info & INFO_FAILED != 0 || request.status != 0 || request.host_status != 0,
        sense,
    })
}

fn pass_through(command: AtaCommand) -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[..3].copy_from_slice(&[PASS_THROUGH, PROTOCOL_PIO_IN, TRANSFER]);
    cdb[4] = command.feature;
    cdb[6] = 1; // One block.
    (cdb[10], cdb[12]) = (command.address[0], command.address[1]);
    cdb[14] = command.command;
    cdb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_and_numbers_are_the_kernels() {
        assert_eq!((size_of::<NvmeAdmin>(), NVME_ADMIN), (72, 0xc048_4e41));
        #[cfg(target_pointer_width = "64")]
        assert_eq!(size_of::<ScsiGeneric>(), 88);
        let smart = AtaCommand {
            command: 0xb0,
            feature: 0xd0,
            address: [0x4f, 0xc2],
        };
        // As `sg_sat_read_gplog` and its like print it: the same bytes for the same command.
        assert_eq!(
            pass_through(smart),
            [0x85, 0x08, 0x0e, 0, 0xd0, 0, 1, 0, 0, 0, 0x4f, 0, 0xc2, 0, 0xb0, 0]
        );
    }

    #[test]
    fn a_disk_that_stands_still_is_told_from_one_that_spins_and_one_that_does_not_say() {
        let check = |bytes: &[(usize, u8)], expected: bool| {
            let mut sense = [0; SENSE_BYTES];
            bytes.iter().for_each(|(at, byte)| sense[*at] = *byte);
            assert_eq!(is_standby(&sense), expected, "{bytes:?}");
        };
        // In descriptor form: the descriptor begins at byte 8, its sector count stands five bytes on.
        let descriptor = |count| [(0, 0x72), (1, 1), (3, 0x1d), (7, 14), (8, 9), (9, 12), (13, count)];
        check(&descriptor(0x00), true);
        check(&descriptor(0x01), true);
        check(&descriptor(0x80), false);
        check(&descriptor(0xff), false);
        let fixed = |count| [(0, 0x70), (4, 0x50), (6, count), (13, 0x1d)];
        check(&fixed(0x00), true);
        check(&fixed(0xff), false);
        check(&[], false);
        // An illegal request, as of a disk that is no ATA disk.
        check(&[(0, 0x70), (2, 5), (12, 0x20)], false);
    }

    #[test]
    fn what_is_no_disk_says_so() {
        let null = File::open("/dev/null").expect("a device");
        let command = NvmeCommand {
            opcode: 2,
            namespace: 1,
            dword_10: 0,
        };
        nvme(&null, &command, &mut [0; 512]).expect_err("no controller");
        let smart = AtaCommand {
            command: 0xb0,
            feature: 0xd0,
            address: [0; 2],
        };
        ata(&null, smart, &mut [0; 512]).expect_err("no disk");
        sleeps(&null).expect_err("no disk");
    }
}
