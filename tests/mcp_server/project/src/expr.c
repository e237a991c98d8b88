#include "tally.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct parser {
	const char *at;
	const char *fault;
	int depth;
};

static const struct {
	const char *name;
	double (*value)(double);
} functions[] = {
	{"sqrt", sqrt}, {"sin", sin}, {"cos", cos}, {"tan", tan}, {"exp", exp}, {"log", log}, {"floor", floor}, {"abs", fabs},
};

static double sum(struct parser *parser);

static char peek(struct parser *parser)
{
	while (isspace((unsigned char)*parser->at))
		parser->at++;
	return *parser->at;
}

static double fail(struct parser *parser, const char *fault)
{
	if (!parser->fault)
		parser->fault = fault;
	return 0;
}

static double in_brackets(struct parser *parser)
{
	double value;

	parser->at++;
	if (++parser->depth > 100)
		return fail(parser, "too many brackets");
	value = sum(parser);
	parser->depth--;
	if (peek(parser) != ')')
		return fail(parser, "a bracket is not closed");
	parser->at++;
	return value;
}

static double function(struct parser *parser)
{
	size_t length = 0;

	while (isalpha((unsigned char)parser->at[length]))
		length++;
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		if (strlen(functions[i].name) != length || strncmp(functions[i].name, parser->at, length))
			continue;
		parser->at += length;
		if (peek(parser) != '(')
			return fail(parser, "a function without brackets");
		return functions[i].value(in_brackets(parser));
	}
	return fail(parser, "an unknown name");
}

static double operand(struct parser *parser)
{
	char c = peek(parser), *end;
	double value;

	if (c == '(')
		return in_brackets(parser);
	if (isalpha((unsigned char)c))
		return function(parser);
	value = strtod(parser->at, &end);
	if (end == parser->at)
		return fail(parser, "a number is missing");
	parser->at = end;
	return value;
}

static double power(struct parser *parser)
{
	double value;

	if (peek(parser) == '-' && ++parser->depth < 100) {
		parser->at++;
		value = -power(parser);
		parser->depth--;
		return value;
	}
	value = operand(parser);
	if (peek(parser) == '^' && !parser->fault) {
		parser->at++;
		value = pow(value, power(parser));
	}
	return value;
}

static double product(struct parser *parser)
{
	double value = power(parser);

	for (char c = peek(parser); (c == '*' || c == '/') && !parser->fault; c = peek(parser)) {
		double other;

		parser->at++;
		other = power(parser);
		if (c == '/' && other == 0)
			return fail(parser, "a division by zero");
		value = c == '*' ? value * other : value / other;
	}
	return value;
}

static double sum(struct parser *parser)
{
	double value = product(parser);

	for (char c = peek(parser); (c == '+' || c == '-') && !parser->fault; c = peek(parser)) {
		double other;

		parser->at++;
		other = product(parser);
		value = c == '+' ? value + other : value - other;
	}
	return value;
}

bool expr_value(const char *text, double *value, const char **fault)
{
	struct parser parser = {text, NULL, 0};

	*value = sum(&parser);
	if (!parser.fault && peek(&parser))
		parser.fault = "something follows the end";
	*fault = parser.fault;
	return !parser.fault;
}
