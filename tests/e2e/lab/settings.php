<?php
// What the lab's wiki has beyond MediaWiki's own defaults. Ports come from the environment, so that a copy of the folder is a wiki of its own.
$wgServer = 'http://127.0.0.1:' . ( getenv( 'LAB_WIKI_PORT' ) ?: '1' );
$wgUploadDirectory = __DIR__ . '/images';
$wgUploadPath = '/images';
$wgCacheDirectory = __DIR__ . '/cache';
$wgTmpDirectory = __DIR__ . '/tmp';
$wgLocalisationCacheConf['store'] = 'array';
$wgMainCacheType = CACHE_ACCEL;
$wgSessionCacheType = CACHE_ACCEL;
$wgParserCacheType = CACHE_NONE;
$wgJobRunRate = 0; // the lab runs runJobs.php beside it
$wgEnableUploads = true;
$wgShowExceptionDetails = true;
$wgRCWatchCategoryMembership = true;
$wgMaxArticleSize = 2048;
$wgUseInstantCommons = false;
$wgEnableEmail = false;
$wgPingback = false;
$wgRightsUrl = 'https://creativecommons.org/licenses/by-sa/4.0/';
$wgRightsText = 'Creative Commons Attribution-ShareAlike 4.0';
$wgRCFeeds['lab'] = [
	'class' => 'UDPRCFeedEngine',
	'formatter' => 'JSONRCFeedFormatter',
	'uri' => 'udp://127.0.0.1:' . ( getenv( 'LAB_UDP_PORT' ) ?: '1' ),
	'add_interwiki_prefix' => false,
	'omit_bots' => false,
	'omit_minor' => false,
	'omit_anon' => false,
	'omit_user' => false,
	'omit_patrolled' => false,
];
wfLoadExtension( 'Scribunto' ); // pages in Lua, in namespace Module
foreach ( [
	'deleterevision', 'deletelogentry', 'suppressrevision', 'viewsuppressed', 'hideuser', 'suppressionlog', 'mergehistory', 'import',
	'importupload', 'editcontentmodel', 'suppressredirect', 'deletedhistory', 'deletedtext', 'undelete', 'apihighlimits', 'noratelimit',
	'bigdelete', 'override-antispoof', 'managechangetags', 'changetags', 'editusercss', 'editsitejs',
] as $right ) {
	$wgGroupPermissions['sysop'][$right] = true;
}
$wgGroupPermissions['sysop']['bot'] = false; // the bot flag only from the group of that name
$wgGroupPermissions['bot']['bot'] = true;
$wgRateLimits = [];
