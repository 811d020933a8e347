/* What the agent calls of NVML, for its tests: one GPU whose readings are known, divided into two instances at the first and third
   of its places. Signatures and return codes are those of NVIDIA's documented interface (nvml.h); nothing else of it is here. */
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, GPU_IS_LOST = 15, LIB_RM_VERSION_MISMATCH = 18 };

/* Handles: 1 is the GPU, 101 and 103 its instances. */
static int is_instance(void *device) { return (unsigned long)device > 100; }

typedef struct { char legacy[16]; unsigned domain, bus, device, device_id, subsystem_id; char id[32]; } pci;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory;
typedef union { double d; unsigned ui; unsigned long long ull; } value;
typedef struct { unsigned field, scope; long long time, latency; unsigned type, result; value value; } field;

int nvmlInit_v2(void) {
#ifdef MISMATCH
    return LIB_RM_VERSION_MISMATCH;
#else
    return SUCCESS;
#endif
}
int nvmlShutdown(void) { return SUCCESS; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { strncpy(text, "570.1.2", length); return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)(index + 1ul); return SUCCESS; }

int nvmlDeviceGetUUID(void *device, char *text, unsigned length) {
#ifdef LOST
    return GPU_IS_LOST;
#else
#ifdef INSTANCE_LOST
    if ((unsigned long)device == 103) return GPU_IS_LOST;
#endif
    strncpy(text, !is_instance(device) ? "GPU-fake" : (unsigned long)device == 101 ? "MIG-fake-1" : "MIG-fake-3", length);
    return SUCCESS;
#endif
}
int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) {
#ifdef MANY_PLACES
    *count = 4000000000u;
#else
    *count = 7;
#endif
    return SUCCESS;
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **instance) {
#ifdef PLACES_FAIL
    return GPU_IS_LOST;
#endif
#ifndef MANY_PLACES
    if (index != 0 && index != 2) return NOT_FOUND;
#endif
    *instance = (void *)(101ul + index);
    return SUCCESS;
}
int nvmlDeviceGetPciInfo_v3(void *device, pci *info) {
    memset(info, 0, sizeof *info);
    strcpy(info->id, "00000000:3B:00.0");
    return SUCCESS;
}
int nvmlDeviceGetName(void *device, char *text, unsigned length) {
    strncpy(text, is_instance(device) ? "Fake H100 MIG 1g.10gb" : "Fake H100", length);
    return SUCCESS;
}
int nvmlDeviceGetVbiosVersion(void *device, char *text, unsigned length) { strncpy(text, "96.00.74", length); return SUCCESS; }
int nvmlDeviceGetUtilizationRates(void *device, utilization *rates) {
#ifdef HANG
    while (access(HANG, F_OK) == 0) usleep(1000);
#endif
#ifndef INSTANCES_TELL
    if (is_instance(device)) return NOT_SUPPORTED;
#endif
    rates->gpu = is_instance(device) ? 12 : 97; rates->memory = 40;
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo_v2(void *device, memory *info) {
    if (is_instance(device)) {
#ifdef INSTANCE_HANG
        while (access(INSTANCE_HANG, F_OK) == 0) usleep(1000);
#endif
        info->total = 10000000000ull; info->used = 2500000000ull; info->free = 7500000000ull; info->reserved = 0;
        return SUCCESS;
    }
    info->total = 80000000000ull; info->used = 60000000000ull; info->free = 20000000000ull; info->reserved = 0;
    return SUCCESS;
}
int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *degrees) { *degrees = 64; return SUCCESS; }
int nvmlDeviceGetTemperatureThreshold(void *device, unsigned which, unsigned *degrees) { *degrees = 87; return SUCCESS; }
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) { *milliwatts = 612500; return SUCCESS; }
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts) { *milliwatts = 700000; return SUCCESS; }
int nvmlDeviceGetClockInfo(void *device, unsigned which, unsigned *mhz) { *mhz = which == 1 ? 1980 : 2619; return SUCCESS; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) { *reasons = 4; return SUCCESS; }
int nvmlDeviceGetPcieReplayCounter(void *device, unsigned *count) { *count = 9; return SUCCESS; }
int nvmlDeviceGetCurrPcieLinkWidth(void *device, unsigned *lanes) { *lanes = 8; return SUCCESS; }
int nvmlDeviceGetCurrPcieLinkGeneration(void *device, unsigned *generation) { *generation = 4; return SUCCESS; }
int nvmlDeviceGetMaxPcieLinkWidth(void *device, unsigned *lanes) { *lanes = 16; return SUCCESS; }
int nvmlDeviceGetMaxPcieLinkGeneration(void *device, unsigned *generation) { *generation = 5; return SUCCESS; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, void *processes) {
    *count = is_instance(device) ? 1 : 3;
    return 7; /* insufficient size: how the number is asked for */
}
int nvmlDeviceGetEncoderUtilization(void *device, unsigned *used, unsigned *period) { *used = 5; *period = 1; return SUCCESS; }
int nvmlDeviceGetDecoderUtilization(void *device, unsigned *used, unsigned *period) { *used = 6; *period = 1; return SUCCESS; }
int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
#ifdef NO_MIG
    return NOT_SUPPORTED;
#else
    *current = 1; *pending = 1;
    return SUCCESS;
#endif
}
int nvmlDeviceGetFieldValues(void *device, int count, field *values) {
    for (int i = 0; i < count; i++) {
        unsigned id = values[i].field;
        values[i].result = SUCCESS;
        values[i].type = 3; /* unsigned long long */
        values[i].value.ull = id == 82 ? 71 : 1000 + id;
#ifdef NO_NVLINK
        if (id >= 32 && id <= 73) values[i].result = NOT_SUPPORTED;
#endif
    }
    return SUCCESS;
}
