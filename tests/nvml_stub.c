/* A libnvidia-ml.so.1 without cards, for tests: it answers what the file named by $NVML_STUB says, line by line.
 *
 *   driver 550.54.14
 *   cuda 12040
 *   card uuid=GPU-1 bus=00000000:07:00.0 total=BYTES used=BYTES mode=0 mig=0 capability=8.0 minor=0
 *        processes=PID:BYTES,PID:BYTES name=the rest of the line          (all on one line, each part optional)
 *   slice uuid=MIG-1 total=BYTES used=BYTES     an instance of the card above it
 *   fail CALL CODE      from now on the call answers this error code; CALL is a name such as nvmlDeviceGetUUID
 *   hang CALL           it never returns
 *   crash CALL          it dies by SIGSEGV
 *   print CALL          it writes nonsense to stdout, and goes on
 *
 * A card without mig= does not support MIG, one without minor= or processes= does not tell them. With -DOLD the
 * library lacks what came with drivers after 450.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, MOST = 1200 };
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char address[32]; } Pci;
typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } Process;
typedef struct { char line[2048]; int parent; } Device;

static Device devices[MOST];
static int loaded;
static char driver[81], troubles[64][96];
static int cuda, troubled;

static const char *part(const char *line, const char *key) {
    char wanted[32];
    snprintf(wanted, sizeof wanted, " %s=", key);
    const char *found = strstr(line, wanted);
    return found ? found + strlen(wanted) : NULL;
}

static unsigned long long number(const Device *device, const char *key) {
    const char *text = part(device->line, key);
    return text ? strtoull(text, NULL, 10) : 0;
}

static int text(const Device *device, const char *key, const char *ends, char *buffer, size_t size) {
    const char *value = part(device->line, key);
    snprintf(buffer, size, "%.*s", value ? (int)strcspn(value, ends) : 0, value ? value : "");
    return SUCCESS;
}

static void load(void) {
    char line[2048];
    const char *path = getenv("NVML_STUB");
    FILE *file = path ? fopen(path, "r") : NULL;
    int parent = -1;
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "driver %80s", driver) == 1 || sscanf(line, "cuda %d", &cuda) == 1) continue;
        int slice = !strncmp(line, "slice", 5);
        if ((slice || !strncmp(line, "card", 4)) && loaded < MOST) {
            devices[loaded].parent = slice ? parent : -1;
            if (!slice) parent = loaded;
            strcpy(devices[loaded++].line, line);
        } else if (*line && troubled < 64) {
            snprintf(troubles[troubled++], sizeof troubles[0], "%.95s", line);
        }
    }
    if (file) fclose(file);
}

/* What the file says of a call: its error code; or the library hangs, crashes or prints here. */
static int trouble(const char *call) {
    char what[16], name[64];
    for (int i = 0; i < troubled; i++) {
        int code = 0;
        if (sscanf(troubles[i], "%15s %63s %d", what, name, &code) < 2 || strcmp(name, call)) continue;
        if (!strcmp(what, "fail")) return code;
        if (!strcmp(what, "hang")) for (;;) pause();
        if (!strcmp(what, "crash")) raise(SIGSEGV);
        if (!strcmp(what, "print")) { puts("{\"cards\": [ \xff\xfe nonsense"); fflush(stdout); }
    }
    return SUCCESS;
}

static int child(int parent, unsigned wanted, Device **found) {
    for (int i = 0; i < loaded; i++)
        if (devices[i].parent == parent && !wanted--) return *found = &devices[i], SUCCESS;
    return NOT_FOUND;
}

#define CALL(name, arguments, body) \
    int name arguments { int code = trouble(#name); if (code) return code; body }

CALL(nvmlInitWithFlags, (unsigned flags), (void)flags; load(); return trouble("nvmlInitWithFlags");)
CALL(nvmlSystemGetDriverVersion, (char *buffer, unsigned size), snprintf(buffer, size, "%s", driver); return SUCCESS;)
CALL(nvmlSystemGetCudaDriverVersion, (int *version), *version = cuda; return SUCCESS;)
CALL(nvmlDeviceGetCount_v2, (unsigned *count),
     *count = 0; for (int i = 0; i < loaded; i++) *count += devices[i].parent < 0; return SUCCESS;)
CALL(nvmlDeviceGetHandleByIndex_v2, (unsigned index, Device **device), return child(-1, index, device);)
CALL(nvmlDeviceGetUUID, (Device *device, char *buffer, unsigned size), return text(device, "uuid", " ", buffer, size);)
CALL(nvmlDeviceGetName, (Device *device, char *buffer, unsigned size), return text(device, "name", "", buffer, size);)
CALL(nvmlDeviceGetPciInfo_v3, (Device *device, Pci *pci),
     memset(pci, 0, sizeof *pci); return text(device, "bus", " ", pci->address, sizeof pci->address);)
CALL(nvmlDeviceGetMinorNumber, (Device *device, unsigned *minor),
     if (!part(device->line, "minor")) return NOT_SUPPORTED; *minor = number(device, "minor"); return SUCCESS;)
CALL(nvmlDeviceGetMemoryInfo, (Device *device, Memory *memory),
     memory->total = number(device, "total"); memory->used = number(device, "used");
     memory->free = memory->total - memory->used; return SUCCESS;)
CALL(nvmlDeviceGetComputeMode, (Device *device, int *mode), *mode = number(device, "mode"); return SUCCESS;)
CALL(nvmlDeviceGetCudaComputeCapability, (Device *device, int *major, int *minor),
     const char *value = part(device->line, "capability"); *major = *minor = 0;
     return value && sscanf(value, "%d.%d", major, minor) == 2 ? SUCCESS : NOT_SUPPORTED;)

static int processes(Device *device, unsigned *count, Process *buffer) {
    const char *value = part(device->line, "processes");
    unsigned found = 0, room = buffer ? *count : 0;
    Process one = {0};
    int length;
    if (!value) return NOT_SUPPORTED;
    for (; sscanf(value, "%u:%llu%n", &one.pid, &one.used, &length) == 2; value += length + (value[length] == ',')) {
        if (found < room) buffer[found] = one;
        found++;
    }
    *count = found;
    return found > room ? TOO_SMALL : SUCCESS;
}

CALL(nvmlDeviceGetComputeRunningProcesses_v2, (Device *device, unsigned *count, Process *buffer),
     return processes(device, count, buffer);)

#ifndef OLD
CALL(nvmlSystemGetCudaDriverVersion_v2, (int *version), *version = cuda; return SUCCESS;)
CALL(nvmlDeviceGetComputeRunningProcesses_v3, (Device *device, unsigned *count, Process *buffer),
     return processes(device, count, buffer);)
CALL(nvmlDeviceGetMigMode, (Device *device, unsigned *current, unsigned *pending),
     if (!part(device->line, "mig")) return NOT_SUPPORTED;
     *current = *pending = number(device, "mig"); return SUCCESS;)
CALL(nvmlDeviceGetMaxMigDeviceCount, (Device *device, unsigned *count), (void)device; *count = 20; return SUCCESS;)
CALL(nvmlDeviceGetMigDeviceHandleByIndex, (Device *device, unsigned index, Device **part),
     return child((int)(device - devices), index, part);)
#endif
