#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define check(condition)                                                                                            \
	do {                                                                                                        \
		if (!(condition)) {                                                                                 \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                     \
			exit(1);                                                                                    \
		}                                                                                                   \
	} while (0)

#endif
