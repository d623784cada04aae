/* Loaded into Postfix's own smtpd by LD_PRELOAD: then _EXE is that of the real one.
   FORGED is the line, TIMES how often it is sent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

__attribute__((constructor)) static void forge(void) {
    const char *line = getenv("FORGED"), *times = getenv("TIMES");
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    char text[1024];
    int i, fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (line == NULL || times == NULL || fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        _exit(1);
    snprintf(text, sizeof text, "<20>postfix/smtpd[%d]: %s", (int)getpid(), line);
    for (i = 0; i < atoi(times); i++)
        if (send(fd, text, strlen(text), 0) < 0)
            _exit(1);
    usleep(100000); /* journald looks at the living process */
    _exit(0);
}
