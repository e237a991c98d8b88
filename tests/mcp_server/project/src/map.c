#include "tally.h"

#include <stdlib.h>
#include <string.h>

static struct map_entry *find(const struct map *map, struct slice key)
{
	size_t at = hash_bytes(key.start, key.length) & (map->room - 1);

	while (map->entries[at].key && !slice_equals(key, map->entries[at].key))
		at = (at + 1) & (map->room - 1);
	return &map->entries[at];
}

static void grow(struct map *map)
{
	struct map larger = {NULL, map->used, map->room ? 2 * map->room : 64};

	larger.entries = calloc(larger.room, sizeof(*larger.entries));
	if (!larger.entries)
		abort();
	for (size_t i = 0; i < map->room; i++)
		if (map->entries[i].key)
			*find(&larger, slice_of(map->entries[i].key)) = map->entries[i];
	free(map->entries);
	*map = larger;
}

long *map_at(struct map *map, struct slice key)
{
	struct map_entry *entry;

	if (map->used * 3 >= map->room * 2)
		grow(map);
	entry = find(map, key);
	if (!entry->key) {
		entry->key = malloc(key.length + 1);
		if (!entry->key)
			abort();
		memcpy(entry->key, key.start, key.length);
		entry->key[key.length] = '\0';
		map->used++;
	}
	return &entry->count;
}

long map_count(const struct map *map, const char *key)
{
	return map->room ? find(map, slice_of(key))->count : 0;
}

static int more_often(const void *one, const void *other)
{
	const struct map_entry *a = one, *b = other;

	return a->count != b->count ? (a->count < b->count ? 1 : -1) : strcmp(a->key, b->key);
}

struct map_entry *map_by_count(const struct map *map)
{
	struct map_entry *sorted = calloc(map->used + 1, sizeof(*sorted));
	size_t count = 0;

	if (!sorted)
		abort();
	for (size_t i = 0; i < map->room; i++)
		if (map->entries[i].key)
			sorted[count++] = map->entries[i];
	sort_with(sorted, count, sizeof(*sorted), more_often);
	return sorted;
}

void map_free(struct map *map)
{
	for (size_t i = 0; i < map->room; i++)
		free(map->entries[i].key);
	free(map->entries);
	memset(map, 0, sizeof(*map));
}
